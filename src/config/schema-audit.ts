// The `audit` and `admin.tls` blocks of sidecar.yaml.
import { z } from 'zod';
import { doc, duration, secret, size } from './fields.ts';

/** How the audit log is kept; it is durable with `postgres` only. */
export const audit = z.strictObject({
  retention: duration({ span: true })
    .prefault('400d')
    .meta(doc('How long events are kept; at least 7d. What is removed is recorded in a signed checkpoint.', 'restart')),
  spool: size()
    .prefault('16MiB')
    .meta(doc('Events that may wait in state_dir for PostgreSQL; above, changes are refused.', 'restart')),
  checkpoint_every: duration()
    .prefault('1m')
    .meta(doc('How often the ends of all chains are signed; what came later can be cut off unnoticed.', 'restart')),
  checkpoint_events: z
    .int()
    .min(1)
    .max(1_000_000)
    .prefault(1000)
    .meta(doc('A checkpoint comes earlier after this many events.', 'restart')),
  signing_key: secret()
    .optional()
    .meta(
      doc('PKCS8 PEM of the Ed25519 key that signs checkpoints. Default: made, and sealed in PostgreSQL.', 'restart'),
    ),
});

/** TLS of the admin port. */
export const adminTls = z.strictObject({
  certificate: secret().meta(doc('PEM of the certificate and its chain.')),
  key: secret().meta(doc('PEM of its private key.')),
  client_ca: secret()
    .optional()
    .meta(doc('PEM of the authorities of client certificates; with it nobody connects without one.', 'restart')),
});
