// Redis and PostgreSQL, and what is allowed while they are away.
import { type Check, withSecret } from './context.ts';
import { certificateProblem } from './upstreams.ts';

/** Checks `redis`, `postgres` and `revocation`. */
export const checkStores: Check = (context) => {
  checkPostgres(context);
  const { redis, name, revocation } = context.config;
  if (revocation.on_store_down === 'allow') {
    context.warn(['revocation', 'on_store_down'], 'allow accepts revoked tokens while Redis is away');
  }
  if (!redis) return;
  if (name === undefined)
    context.problem(['redis'], 'needs name: limit keys of applications on one Redis must not meet');
  withSecret(context, ['redis', 'tls', 'ca'], redis.tls?.ca, certificateProblem);
  const tls = redis.tls !== undefined;
  withSecret(context, ['redis', 'url'], redis.url, (url) => redisUrlProblem(url, tls));
};

const checkPostgres: Check = (context) => {
  const { postgres } = context.config;
  if (!postgres) return;
  const { url, embedded, tls } = postgres;
  if (embedded && url) context.problem(['postgres', 'url'], 'is given together with embedded: choose one');
  if (!embedded && !url) context.problem(['postgres'], 'needs url, or embedded: true to try it out');
  if (embedded && context.config.redis)
    context.problem(['postgres', 'embedded'], 'is for one replica: replicas that share Redis share a PostgreSQL too');
  withSecret(context, ['postgres', 'tls', 'ca'], tls?.ca, certificateProblem);
  withSecret(context, ['postgres', 'url'], url, postgresUrlProblem);
};

function postgresUrlProblem(text: string): string | undefined {
  const url = URL.parse(text);
  const form = 'needs a postgres:// URL with host and database, such as postgres://user@host:5432/doorward';
  if (!url || !/^postgres(ql)?:$/.test(url.protocol) || url.hostname === '') return form;
  return /^\/[^/]+$/.test(url.pathname) ? undefined : form;
}

function redisUrlProblem(text: string, tls: boolean): string | undefined {
  const url = URL.parse(text);
  if (!url || !/^rediss?:$/.test(url.protocol) || url.hostname === '') return 'needs a redis:// or rediss:// URL';
  return tls && url.protocol === 'redis:' ? 'needs rediss:// with tls' : undefined;
}
