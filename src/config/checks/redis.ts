// Redis: which one it is, and whether secrets and TLS fit it.
import { isIP } from 'node:net';
import { type Check, type CheckContext, refuseRepeated, withSecret } from './context.ts';
import { isHost } from './hosts.ts';
import { certificateProblem } from './upstreams.ts';

const PLACES = ['url', 'sentinel', 'cluster'] as const;

/** Checks `redis`. */
export const checkRedis: Check = (context) => {
  const { redis, name } = context.config;
  if (!redis) return;
  if (name === undefined)
    context.problem(['redis'], 'needs name: limit keys of applications on one Redis must not meet');
  const given = PLACES.filter((place) => context.given(['redis', place]));
  if (given.length === 0) context.problem(['redis'], 'needs url, sentinel or cluster');
  for (const place of given.slice(1))
    context.problem(['redis', place], `is given together with ${given[0]}: choose one`);
  const tls = redis.tls !== undefined;
  withSecret(context, ['redis', 'url'], redis.url, (url) => redisUrlProblem(url, tls));
  if (redis.password) withSecret(context, ['redis', 'password'], redis.url, passwordProblem);
  if (redis.user !== undefined && redis.password === undefined) context.problem(['redis', 'user'], 'needs password');
  checkTls(context, ['redis', 'tls']);
  checkSentinel(context);
  if (redis.cluster) refuseRepeated(context, redis.cluster.nodes, ['redis', 'cluster', 'nodes'], 'node');
};

function checkSentinel(context: CheckContext): void {
  const sentinel = context.config.redis?.sentinel;
  if (!sentinel) return;
  refuseRepeated(context, sentinel.nodes, ['redis', 'sentinel', 'nodes'], 'Sentinel');
  if (sentinel.user !== undefined && sentinel.password === undefined)
    context.problem(['redis', 'sentinel', 'user'], 'needs password');
  if (sentinel.nodes.length === 1)
    context.warn(['redis', 'sentinel', 'nodes'], 'names one Sentinel: with it away the master is not found any more');
  checkTls(context, ['redis', 'sentinel', 'tls']);
}

function checkTls(
  context: CheckContext,
  path: readonly ['redis', 'tls'] | readonly ['redis', 'sentinel', 'tls'],
): void {
  const redis = context.config.redis;
  const tls = path[1] === 'tls' ? redis?.tls : redis?.sentinel?.tls;
  withSecret(context, [...path, 'ca'], tls?.ca, certificateProblem);
  const name = tls?.server_name;
  if (name !== undefined && (!isHost(name) || isIP(name) !== 0))
    context.problem([...path, 'server_name'], 'needs a host name');
}

function redisUrlProblem(text: string, tls: boolean): string | undefined {
  const url = URL.parse(text);
  if (!url || !/^rediss?:$/.test(url.protocol) || url.hostname === '') return 'needs a redis:// or rediss:// URL';
  return tls && url.protocol === 'redis:' ? 'needs rediss:// with tls' : undefined;
}

function passwordProblem(url: string): string | undefined {
  return URL.parse(url)?.password ? 'is given together with a password in url: choose one' : undefined;
}
