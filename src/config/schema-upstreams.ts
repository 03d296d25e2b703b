// Settings of one upstream: where it is, how much of it we may use, and how long anything may take.
import { z } from 'zod';
import { doc, duration, originUrl, secret } from './fields.ts';

/** One block under `upstreams`. */
export const upstream = z.strictObject({
  url: originUrl().meta(doc('Origin of the application.')),
  connections: z.int().min(1).max(65_535).prefault(128).meta(doc('Connections kept to it.')),
  queue: z.int().min(0).prefault(256).meta(doc('Requests that may wait for a connection; more are 503 upstream_busy.')),
  queue_timeout: duration({ zero: true }).prefault('1s').meta(doc('How long one may wait.')),
  streams: z.int().min(0).prefault(1024).meta(doc('WebSockets and event streams open at once.')),
  streams_per_caller: z
    .int()
    .min(1)
    .prefault(100)
    .meta(doc('How many of them one caller may hold: one subject of one client, or one address without a token.')),
  connect_timeout: duration().prefault('1s').meta(doc('How long connecting may take.')),
  keep_alive: duration().prefault('4s').meta(doc('Idle connections close after this; below the 5s of Node upstreams.')),
  host: z.string().min(1).prefault('preserve').meta(doc('Host sent: `preserve`, `upstream`, or a name.')),
  tls: z
    .strictObject({
      ca: secret().optional().meta(doc('PEM of the only CA to trust for this upstream.')),
      server_name: z.string().min(1).optional().meta(doc('Name to expect in the certificate.')),
    })
    .optional()
    .meta(doc('For https upstreams.')),
});
