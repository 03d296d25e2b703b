// Settings of the proxy port: addresses, limits before any of our code runs, what we serve there ourselves, and the drain.
import { z } from 'zod';
import { doc, duration, listenAddress, rate, size } from './fields.ts';
import { proxyTls } from './schema-proxy-tls.ts';

const drain = z.strictObject({
  delay: duration({ zero: true })
    .prefault('5s')
    .meta(doc('How long to keep serving after /readyz fails, so that balancers notice.')),
  timeout: duration({ zero: true })
    .prefault('20s')
    .meta(doc('How long requests in flight may take to finish after that.')),
});

/** The block `proxy`. */
export const proxy = z.strictObject({
  listen: listenAddress().prefault('0.0.0.0:8080').meta(doc('Address of the proxy port.', 'restart')),
  tls: proxyTls.optional().meta(doc('TLS of the proxy port; without it plain HTTP.', 'restart')),
  trusted_proxies: z
    .array(z.string())
    .prefault([])
    .meta(doc('CIDRs of peers whose forwarded fields we believe. Empty: nobody. /0 is refused.')),
  client_address: z
    .enum(['x_forwarded_for', 'forwarded'])
    .prefault('x_forwarded_for')
    .meta(doc('The one field that trusted proxies use to tell the client address; the other is removed.')),
  reserved_prefix: z
    .string()
    .regex(/^\/[A-Za-z0-9._-]+$/, 'needs one path segment such as /.doorward')
    .prefault('/.doorward')
    .meta(doc('Paths below it are ours and never reach an upstream.', 'restart')),
  endpoints: z
    .strictObject({
      verdict: z
        .boolean()
        .prefault(false)
        .meta(
          doc('Answer fronts that only ask, under <reserved_prefix>/verdict/: nginx, forward (Traefik, Caddy), envoy.'),
        ),
      oauth: z
        .boolean()
        .prefault(false)
        .meta(doc("Serve OAuth under <reserved_prefix>/oauth/ and /.well-known/ on the issuer's host.", 'restart')),
    })
    .prefault({})
    .meta(doc('What we serve ourselves on the proxy port.')),
  header_size: size().prefault('16KiB').meta(doc('Largest request head, all fields together.', 'restart')),
  header_timeout: duration().prefault('10s').meta(doc('How long a client may take to send the head.', 'restart')),
  keep_alive: duration()
    .prefault('75s')
    .meta(doc('How long an idle client connection stays open; above the 60s of nginx and load balancers.', 'restart')),
  send_timeout: duration()
    .prefault('60s')
    .meta(
      doc(
        'A client that takes nothing of what waits for it for this long is cut off, WebSockets and streams too.',
        'restart',
      ),
    ),
  http2: z
    .boolean()
    .prefault(false)
    .meta(doc('Speak HTTP/2 too: by ALPN with tls; without, to clients that begin with it (h2c).', 'restart')),
  http2_streams: z
    .int()
    .min(1)
    .max(1000)
    .prefault(100)
    .meta(doc('Requests under way at once on one HTTP/2 connection.', 'restart')),
  workers: z
    .union([z.int().min(1).max(256), z.literal('auto')], { error: 'needs a number from 1 to 256, or auto' })
    .prefault(1)
    .meta(
      doc(
        'Processes that serve the proxy port; above 1 needs redis. auto: one for each core. Bounds kept in memory are divided.',
        'restart',
      ),
    ),
  max_connections: z.int().min(1).prefault(10_000).meta(doc('Client connections beyond this are closed.', 'restart')),
  max_requests: z
    .int()
    .min(1)
    .prefault(10_000)
    .meta(doc('Requests under way at once, those that wait included, open streams not; more are 503 overloaded.')),
  max_delay: duration({ zero: true })
    .prefault('0ms')
    .meta(
      doc(
        'While requests wait longer than this for their turn, a growing share of new ones is 503 overloaded at once; 0ms: never.',
      ),
    ),
  drain: drain.prefault({}).meta(doc('Graceful shutdown; Kubernetes kills after 30s by default.')),
  bad_tokens: rate()
    .prefault('60/1m')
    .meta(doc('Failed tokens per address before it gets 429 without signature work.')),
  remembered_tokens: z
    .int()
    .min(1)
    .max(1_000_000)
    .prefault(20_000)
    .meta(
      doc(
        'Verified tokens that each process remembers, 2 to 4 KB each; beyond it the one used least recently is verified again.',
      ),
    ),
  limit_headers: z
    .enum(['draft', 'legacy', 'both', 'off'])
    .prefault('draft')
    .meta(
      doc(
        'What answers say about limits: RateLimit and RateLimit-Policy (draft), X-RateLimit-Limit, -Remaining and -Reset in seconds from now (legacy), both, or off. Retry-After stays.',
      ),
    ),
  error_detail: z
    .enum(['code', 'reason'])
    .prefault('code')
    .meta(doc('What a refusal tells: the public code, or the exact reason too (development only).')),
});
