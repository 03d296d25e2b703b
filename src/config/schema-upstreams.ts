// Settings of one upstream: where it is, how much of it we may use, how long anything may take, and when an endpoint of it is
// left out.
import { z } from 'zod';
import { doc, duration, oneOrMany, secret, upstreamUrl } from './fields.ts';

const share = () => z.number().min(0).max(1);

const breaker = z
  .strictObject({
    failures: z
      .int()
      .min(1)
      .prefault(3)
      .meta(doc('An endpoint gets no requests after that many failed connects in a row.')),
    probe: duration()
      .prefault('500ms')
      .meta(doc('How often we then try to connect in the background, until it succeeds.')),
  })
  .prefault({})
  .meta(doc('Endpoints that cannot be connected to; with all of them, requests are 503 upstream_unavailable at once.'));

const ejection = z
  .strictObject({
    failures: z
      .int()
      .min(0)
      .prefault(5)
      .meta(doc('Requests in a row that ended without a good answer and eject an endpoint; 0: never.')),
    for: duration().prefault('10s').meta(doc('How long, the first time; then twice as long, and so on.')),
    longest: duration().prefault('5m').meta(doc('The longest; after as long in service the count begins anew.')),
    max_share: share().prefault(0.5).meta(doc('At most this share of the endpoints, and never the last.')),
    statuses: z
      .array(z.int().min(400).max(599))
      .prefault([])
      .meta(doc('Answers that count as failures, such as 502, 503, 504; else only timeouts, resets and no HTTP do.')),
  })
  .prefault({})
  .meta(doc('Leaves out endpoints that accept requests and fail them, where there are several.'));

const health = z
  .strictObject({
    path: z
      .string()
      .regex(/^\/[!-~]*$/, 'needs a path such as /healthz')
      .meta(doc('Asked for with GET, on a connection of its own.')),
    interval: duration().prefault('5s').meta(doc('How often each endpoint is checked.')),
    timeout: duration().prefault('1s').meta(doc('How long one check may take, connecting included.')),
    healthy: z.int().min(1).prefault(2).meta(doc('Passed checks in a row that bring an endpoint back.')),
    unhealthy: z
      .int()
      .min(1)
      .prefault(3)
      .meta(doc('Failed checks in a row that take it out; the first check decides alone.')),
    status: oneOrMany(z.int().min(100).max(599)).optional().meta(doc('Statuses that pass. Default: any 2xx.')),
  })
  .optional()
  .meta(doc('Active checks; without them only connects and answers tell.'));

/** One block under `upstreams`. */
export const upstream = z.strictObject({
  url: oneOrMany(upstreamUrl()).meta(
    doc('Where the application listens: one or several, http, https or unix:/path. A name counts once per address.'),
  ),
  protocol: z
    .enum(['http1', 'http2'])
    .prefault('http1')
    .meta(doc('http2: for gRPC; by ALPN for https, with prior knowledge (h2c) for http. Trailers pass.')),
  connections: z.int().min(1).max(65_535).prefault(128).meta(doc('Requests under way, all endpoints together.')),
  queue: z.int().min(0).prefault(256).meta(doc('Requests that may wait for a connection; more are 503 upstream_busy.')),
  queue_timeout: duration({ zero: true }).prefault('1s').meta(doc('How long one may wait.')),
  streams: z.int().min(0).prefault(1024).meta(doc('WebSockets and event streams open at once.')),
  streams_per_caller: z
    .int()
    .min(1)
    .prefault(100)
    .meta(doc('How many of them one caller may hold: one subject of one client, or one address without a token.')),
  connect_timeout: duration().prefault('1s').meta(doc('How long one try to connect may take.')),
  keep_alive: duration().prefault('4s').meta(doc('Idle connections close after this; below the 5s of Node upstreams.')),
  max_age: duration({ zero: true })
    .prefault('0ms')
    .meta(doc('A connection takes no new request after this, so that balancers between spread anew; 0ms: no bound.')),
  dns_refresh: duration()
    .prefault('10s')
    .meta(doc('How often a host name is looked up; a failed lookup changes nothing.')),
  retries: z
    .int()
    .min(0)
    .max(10)
    .prefault(1)
    .meta(doc('Other endpoints that a request goes to when it could not be connected, and so not be sent.')),
  retry_share: share().prefault(0.2).meta(doc('Such retries as a share of all requests; a few are always free.')),
  slow_start: duration({ zero: true })
    .prefault('0ms')
    .meta(doc('An endpoint that comes or comes back gets its full share only after this; 0ms: at once.')),
  breaker,
  ejection,
  health,
  host: z
    .string()
    .min(1)
    .prefault('preserve')
    .meta(doc('Host sent: `preserve`, `upstream` (localhost for a socket), or a name.')),
  tls: z
    .strictObject({
      ca: secret().optional().meta(doc('PEM of the only CA to trust for this upstream.')),
      certificate: secret().optional().meta(doc('PEM of our own certificate, for upstreams that ask for one.')),
      key: secret().optional().meta(doc('PEM of its private key.')),
      server_name: z
        .string()
        .min(1)
        .optional()
        .meta(doc('Name to expect in the certificate. Default: the host of the url.')),
    })
    .optional()
    .meta(doc('For https upstreams.')),
});
