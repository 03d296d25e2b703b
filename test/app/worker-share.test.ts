// What one process bounds by itself is divided among workers; a new bound has to be thought about here before it is several.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { workerShare } from '../../src/app/worker-share.ts';
import { configEnvironment } from '../support/config-keys.ts';
import { parseText } from '../support/config-text.ts';

const EVERYTHING = `version: 1
name: shop
proxy: {workers: 4}
upstreams: {app: {url: "http://127.0.0.1:3000"}}
routes: {all: {match: {prefix: /}, auth: none}}
limits: {at_once: {key: ip, concurrent: 20}}
redis: {url: {env: REDIS_URL}}
postgres: {url: {env: POSTGRES_URL}, connections: 20}
sealing: {kek: {aws_kms: {key_id: k, region: eu-west-1}}}
`;

/** Every number of a configuration, by path. */
function numbersOf(value: unknown, path = ''): [string, number][] {
  if (typeof value === 'number') return [[path, value]];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, below]) => numbersOf(below, path === '' ? name : `${path}.${name}`));
}

/** Four workers; PostgreSQL has one share more, for the primary. */
const DIVIDED = {
  'proxy.max_connections': 2500,
  'proxy.max_requests': 2500,
  'proxy.bad_tokens.limit': 15,
  'limits.at_once.concurrent': 5,
  'upstreams.app.connections': 32,
  'upstreams.app.queue': 64,
  'upstreams.app.streams': 256,
  'upstreams.app.streams_per_caller': 25,
  'postgres.connections': 4,
};

/**
 * Times, sizes, and what is counted for one connection or one request: the same in every process. So are remembered tokens: every
 * process meets all of them.
 */
const WHOLE =
  /(?:timeout|max_age|retry_share|delay|keep_alive|_size|windowMs|dns_refresh|slow_start|retries|http2_streams|remembered_tokens|interval|workers|known_for)$|^upstreams\.app\.(?:health|ejection|breaker)\./;

test('bounds that each process keeps by itself are divided, and everything else is left alone', () => {
  const loaded = parseText(EVERYTHING, { ...configEnvironment });
  const of = ({ config: { proxy, upstreams, limits, postgres } }: typeof loaded) =>
    numbersOf({ proxy, upstreams, limits, postgres });
  const before = new Map(of(loaded));
  const after = of(workerShare(loaded, 4));
  assert.deepEqual(Object.fromEntries(after.filter(([path, value]) => before.get(path) !== value)), DIVIDED);
  const unconsidered = after.filter(([path]) => !Object.hasOwn(DIVIDED, path) && !WHOLE.test(path));
  assert.deepEqual(unconsidered, [], 'divide it in app/worker-share.ts, or say here that it is not for one process');
});

test('a share is at least one, and none where there is none', () => {
  const text = EVERYTHING.replace('3000"', '3000", connections: 1, queue: 0, streams: 3');
  const { config } = workerShare(parseText(text, { ...configEnvironment }), 8);
  const { connections, queue, streams } = config.upstreams.app!;
  assert.deepEqual([connections, queue, streams], [1, 0, 1]);
  assert.equal(config.postgres?.connections, 2);
});
