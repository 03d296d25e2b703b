// Rows of the reference systems about what is kept of a token, and about input that nobody asked for.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { admin } from '../attacks/world.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { dumpRedis } from '../support/redis-dump.ts';
import { startRedis } from '../support/redis-server.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';

test('C11: a revoked token stands in Redis by its jti, or by a digest where it has none, never itself', async () => {
  await using redis = await startRedis();
  await using upstream = await recordingUpstream();
  const shared = { redis: { url: { value: redis.url }, timeout: '1s' } };
  await using first = await startSidecar(upstream.url, shared);
  await using second = await startSidecar(upstream.url, shared);
  const jti = `jti-${randomUUID()}`;
  const tokens = [tokenFor({ jti }), tokenFor({ jti: undefined })];
  const ask = async (url: string, token: string) => {
    const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
    await response.body?.cancel();
    return response.status;
  };
  for (const token of tokens) {
    assert.deepEqual([await ask(first.proxyUrl, token), await ask(second.proxyUrl, token)], [200, 200]);
    const { status, body } = await admin(first, 'POST', '/v1/revocations', { token });
    assert.deepEqual([status, body.applied], [201, 'all']);
    assert.deepEqual([await ask(second.proxyUrl, token), await ask(first.proxyUrl, token)], [401, 401]);
  }
  const kept = await dumpRedis(redis.url);
  assert.ok(kept.includes(jti), 'the entry itself is there, so the dump sees what it should');
  assert.match(kept, /sha256:[A-Za-z0-9_-]{43}/);
  for (const part of tokens.flatMap((token) => token.split('.').slice(1))) assert.ok(!kept.includes(part));
});
