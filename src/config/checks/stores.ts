// Redis, and what is allowed while it is away.
import { type Check, withSecret } from './context.ts';
import { certificateProblem } from './upstreams.ts';

/** Checks `redis` and `revocation`. */
export const checkStores: Check = (context) => {
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

function redisUrlProblem(text: string, tls: boolean): string | undefined {
  const url = URL.parse(text);
  if (!url || !/^rediss?:$/.test(url.protocol) || url.hostname === '') return 'needs a redis:// or rediss:// URL';
  return tls && url.protocol === 'redis:' ? 'needs rediss:// with tls' : undefined;
}
