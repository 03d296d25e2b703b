// A replica that starts while Redis is away, as a process: it refuses what it cannot know, is not ready, and joins by itself.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { scratchFolder } from '../cli/processes.ts';
import { eventually } from '../rows/eventually.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { testIssuerBlock, tokenFor } from '../support/sidecar.ts';
import { isApplied } from './callers.ts';
import { Replica } from './replica.ts';

const SOON = 20_000;

for (const onStoreDown of ['known', 'deny']) {
  test(`a replica (${onStoreDown}) that starts while Redis is away refuses, is not ready, and joins when Redis is back`, async () => {
    await using redis = await startRedis('--appendonly', 'yes', '--appendfsync', 'always');
    await using upstream = await recordingUpstream();
    using folder = scratchFolder();
    const config = {
      version: 1,
      name: 'late',
      upstreams: { app: { url: upstream.url } },
      issuers: { test: testIssuerBlock },
      redis: { url: { value: redis.url }, timeout: '2s' },
      revocation: { on_store_down: onStoreDown },
      routes: { all: { match: { prefix: '/' } }, open: { match: { prefix: '/open' }, auth: 'none' } },
      log: { level: 'info' },
    };
    await using early = new Replica('early', folder.path);
    await using late = new Replica('late', folder.path);
    await early.open(config);
    const [good, bad] = ['good', 'bad'].map((sub) => tokenFor({ sub, jti: sub })) as [string, string];
    await eventually(async () => (await early.ask('/', bad)).status === 200, SOON);
    assert.ok(isApplied(await early.admin('POST', '/v1/revocations', { token: bad, reason: 'leaked' })));

    await redis.stop();
    await late.open(config);
    upstream.clear();
    assert.match(await late.readiness(), /^not_ready/);
    for (const token of [good, bad]) assert.equal((await late.ask('/', token)).status, 503);
    assert.equal(upstream.seen.length, 0, 'nothing that could have been revoked went through');
    assert.equal((await late.ask('/open', good)).status, 200, 'routes without authentication are served');

    await redis.start();
    await eventually(async () => (await late.readiness()) === 'ready', SOON);
    assert.deepEqual([(await late.ask('/', good)).status, (await late.ask('/', bad)).status], [200, 401]);
    assert.ok(isApplied(await late.admin('POST', '/v1/revocations', { token: good, reason: 'leaked' })));
    await eventually(async () => (await early.ask('/', good)).status === 401, SOON);
  });
}
