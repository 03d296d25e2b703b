// Settings of the two stores: Redis, which replicas share, and PostgreSQL, which keeps the truth.
import { z } from 'zod';
import { doc, duration, secret } from './fields.ts';

/** The block `redis`. */
export const redis = z.strictObject({
  url: secret().meta(doc('redis:// or rediss:// URL.', 'restart')),
  prefix: z
    .string()
    .regex(/^[A-Za-z0-9_.-]+$/, 'needs letters, digits, _ . -')
    .prefault('doorward')
    .meta(doc('First part of every key.', 'restart')),
  timeout: duration().prefault('50ms').meta(doc('Longest a request waits for Redis.', 'restart')),
  tls: z
    .strictObject({ ca: secret().optional().meta(doc('PEM of the CA.', 'restart')) })
    .optional()
    .meta(doc('For rediss.', 'restart')),
});

/** The block `postgres`. */
export const postgres = z.strictObject({
  url: secret().optional().meta(doc('postgres:// URL; sslmode may stand in its query.', 'restart')),
  embedded: z
    .boolean()
    .prefault(false)
    .meta(doc('Run a private PostgreSQL under state_dir instead of url; for trying out only.', 'restart')),
  migrate: z
    .enum(['start', 'never'])
    .prefault('start')
    .meta(doc('Who migrates the schema: every start, or only `doorward migrate`.', 'restart')),
  schema: z
    .string()
    .regex(/^[a-z_][a-z0-9_]{0,62}$/, 'needs a-z, 0-9 and _, at most 63')
    .prefault('doorward')
    .meta(doc('Schema that holds every table of ours.', 'restart')),
  connections: z.int().min(2).max(1000).prefault(10).meta(doc('Most connections of this replica.', 'restart')),
  timeout: duration()
    .prefault('2s')
    .meta(doc('Longest a call waits for a connection, and longest a statement runs.', 'restart')),
  tls: z
    .strictObject({ ca: secret().optional().meta(doc('PEM of the only CA to trust.', 'restart')) })
    .optional()
    .meta(doc('Makes TLS with a verified certificate a must.', 'restart')),
});
