// Settings of the two stores: Redis, which replicas share, and PostgreSQL, which keeps the truth.
import { z } from 'zod';
import { doc, duration, secret } from './fields.ts';

const NODE_FORM = 'needs host:port, such as redis-1:6379';

const nodes = (description: string) =>
  z
    .array(
      z
        .string({ error: NODE_FORM })
        .regex(/^(\[[0-9a-fA-F:.]+\]|[^\s:/@[\]]+):\d{1,5}$/, { error: NODE_FORM, abort: true })
        .refine((text) => isPort(Number(text.slice(text.lastIndexOf(':') + 1))), NODE_FORM),
    )
    .min(1)
    .max(100)
    .meta(doc(description, 'restart'));

const isPort = (port: number): boolean => port >= 1 && port <= 65_535;

/** Trust in a server's certificate. */
const tls = (description: string) =>
  z
    .strictObject({
      ca: secret().optional().meta(doc('PEM of the only CA to trust.', 'restart')),
      server_name: z
        .string()
        .min(1)
        .optional()
        .meta(doc('Name that certificates must bear, where servers are announced by address.', 'restart')),
    })
    .optional()
    .meta(doc(description, 'restart'));

const user = (whose: string) =>
  z
    .string()
    .min(1)
    .optional()
    .meta(doc(`${whose}; without it the default user.`, 'restart'));
const password = (whose: string) => secret().optional().meta(doc(whose, 'restart'));

const sentinel = z.strictObject({
  name: z.string().min(1).meta(doc('What the Sentinels call the master.', 'restart')),
  nodes: nodes('Sentinels; each is asked in turn, and no others.'),
  user: user('User at the Sentinels'),
  password: password('Password at the Sentinels.'),
  tls: tls('Makes TLS to the Sentinels a must.'),
});

const cluster = z.strictObject({
  nodes: nodes('Some nodes of the Cluster; the others are learned from them.'),
});

/** The block `redis`. */
export const redis = z.strictObject({
  url: secret().optional().meta(doc('redis:// or rediss:// URL of one server.', 'restart')),
  sentinel: sentinel.optional().meta(doc('Sentinels that know the master, instead of url.', 'restart')),
  cluster: cluster.optional().meta(doc('A Redis Cluster, instead of url.', 'restart')),
  user: user('User at the servers'),
  password: password('Password at the servers, where url carries none.'),
  prefix: z
    .string()
    .regex(/^[A-Za-z0-9_.-]+$/, 'needs letters, digits, _ . -')
    .prefault('doorward')
    .meta(doc('First part of every key.', 'restart')),
  timeout: duration().prefault('50ms').meta(doc('Longest a request waits for Redis.', 'restart')),
  tls: tls('Makes TLS to the servers a must; with url it is for rediss.'),
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
    .meta(
      doc('Longest each may take: waiting for a connection, making one, its first answer, a statement.', 'restart'),
    ),
  tls: z
    .strictObject({ ca: secret().optional().meta(doc('PEM of the only CA to trust.', 'restart')) })
    .optional()
    .meta(doc('Makes TLS with a verified certificate a must.', 'restart')),
});
