// Replays the rate-limit corpus (../shared/corpora) against the memory and the Redis store, and its header rows against
// what we send. Without the corpus there is nothing to replay and the file says so.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import { randomId } from '../../src/core/ids.ts';
import { limitFields, policyOf } from '../../src/limits/fields.ts';
import type { CheckStore } from '../../src/stores/contracts/checks.ts';
import { openMemory } from '../../src/stores/memory/backend.ts';
import { openRedis } from '../../src/stores/redis/backend.ts';
import { charge } from '../conformance/checks.ts';
import { startRedis } from '../support/redis-server.ts';

interface Case {
  readonly id: string;
  readonly input: { limit?: number; window_ms?: number; events_ms?: number[]; field?: string; value?: string };
  readonly expect: { valid?: boolean };
}
interface Oracle {
  hit(atMs: number): { ok: boolean };
}
type OracleClass = new (limit: number, windowMs: number) => Oracle;

const corpora = new URL('../../../shared/corpora/', import.meta.url);
const cases: Case[] = existsSync(corpora)
  ? JSON.parse(readFileSync(new URL('ratelimit/cases.json', corpora), 'utf8'))
  : [];
const accepted: { ratelimit?: Record<string, string> } = JSON.parse(
  readFileSync(new URL('accepted-deviations.json', import.meta.url), 'utf8'),
);
const deviations = accepted.ratelimit ?? {};

if (cases.length === 0) test('the rate-limit corpus is not here: nothing to replay', () => undefined);
else {
  const oracles = (await import(new URL('tools/ratelimit_oracles.mjs', corpora).href)) as Record<string, OracleClass>;
  const server = await startRedis();
  const redis = openRedis({ url: server.url, prefix: `t.${randomId()}`, timeoutMs: 2000 });
  assert.equal(await redis.ready(5000), true);
  after(async () => {
    await redis[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
  const memory = openMemory(systemClock);

  const ours = async (
    store: CheckStore,
    algorithm: 'sliding' | 'log',
    { limit, window_ms, events_ms }: Case['input'],
  ) => {
    const a = charge(limit as number, window_ms as number, { algorithm });
    const verdicts = [];
    for (const at of events_ms as number[]) {
      const [states] = (await store.check([[a]], at)).results;
      verdicts.push(states instanceof Error ? 'E' : states?.[0] === -1 ? '0' : '1');
    }
    return verdicts.join('');
  };
  const theirs = (name: string, { limit, window_ms, events_ms }: Case['input']) => {
    const Class = oracles[name] as OracleClass;
    const oracle = new Class(limit as number, window_ms as number);
    return (events_ms as number[]).map((at) => (oracle.hit(at).ok ? '1' : '0')).join('');
  };

  const traces = cases.filter(({ input }) => input.events_ms && input.limit);
  for (const { id, input } of traces) {
    for (const [algorithm, oracle] of [
      ['sliding', 'SlidingCounterCloudflare'],
      ['log', 'SlidingLog'],
    ] as const) {
      test(`${id}: ${algorithm} decides as ${oracle} on both stores`, async () => {
        const mine = await ours(memory.checks, algorithm, input);
        assert.equal(await ours(redis.checks, algorithm, input), mine, 'both stores alike');
        if (deviations[`${id}#${algorithm}`] === undefined) assert.equal(mine, theirs(oracle, input));
        else assert.notEqual(mine, theirs(oracle, input), 'no deviation any more: take it off the list');
      });
    }
  }

  const itemOf = /^"[a-z][a-z0-9_]*";(?:q=\d+;w=[1-9]\d*|r=\d+(?:;t=\d+)?)$/;
  const rows = cases.filter(({ input }) => input.field !== undefined);
  test(`what we send has the shape of the valid header rows (${rows.length} rows) and of none of the invalid ones`, () => {
    const shape = (value: string) => value.split(/,\s*/).every((item) => itemOf.test(item));
    const rates = [
      { limit: 100, windowMs: 60_000 },
      { limit: 5000, windowMs: 86_400_000 },
    ];
    const names = ['per_ip', 'per_ip_2'];
    assert.ok(shape(policyOf(names, rates)));
    assert.ok(shape(limitFields([{ names, shadow: false }], [-1, 1, 3, 1]).rateLimit as string));
    for (const { id, input, expect } of rows) {
      if (expect.valid === false) assert.equal(shape(input.value as string), false, id);
    }
    assert.ok(rows.some(({ input, expect }) => expect.valid && shape(input.value as string)));
  });

  test('ratelimit/header-rule/retry-after: Retry-After is never earlier than any t', () => {
    const shown = [{ names: ['a', 'b'], shadow: false }];
    for (const states of [
      [-1, 1, 5, 9e6],
      [-1, 2001, -1, 999],
      [5, 9e6, -1, 60_001],
    ]) {
      const { rateLimit, retryAfter } = limitFields(shown, states);
      for (const [, t] of (rateLimit ?? '').matchAll(/;t=(\d+)/g)) assert.ok(Number(retryAfter) >= Number(t));
    }
  });
}
