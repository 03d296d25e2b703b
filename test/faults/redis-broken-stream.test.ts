// A connection to Redis whose bytes are not those that Redis sent: no answer may be taken for that of another call.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openRedis } from '../../src/stores/redis/backend.ts';
import { charge } from '../conformance/checks.ts';
import { until } from '../revocation/until.ts';
import { startRedis } from '../support/redis-server.ts';
import { type Mangling, startRelay } from '../support/relay.ts';

const CALLS = 200;
const ROUNDS = 10;

for (const how of ['repeat', 'swap'] satisfies Mangling[]) {
  test(`no answer of Redis is taken for that of another call when the stream is broken (${how})`, async () => {
    await using server = await startRedis();
    await using relay = await startRelay({ port: server.port, host: '127.0.0.1' });
    await using backend = openRedis({ url: `redis://127.0.0.1:${relay.port}`, prefix: 't', timeoutMs: 2000 });
    let key = 0;
    // A limit of its own for each call: what remains tells whose answer it is.
    const ask = async (limit: number) => {
      key += 1;
      const wanted = { ...charge(limit, 60_000), key: `k${key}` };
      const { results } = await backend.checks.check([[wanted]]);
      assert.equal((results[0] as number[])[0], limit - 1, 'the answer of another call');
    };
    let answered = 0;
    const isWhole = () =>
      ask(7).then(
        () => true,
        (error) => {
          if (error instanceof assert.AssertionError) throw error;
          return false;
        },
      );
    for (let round = 0; round < ROUNDS; round += 1) {
      await until(isWhole, 20_000);
      relay.mangle(how, 'down');
      const asked = Array.from({ length: CALLS }, (_, at) => ask(at + 2));
      for (const outcome of await Promise.allSettled(asked)) {
        if (outcome.status === 'fulfilled') answered += 1;
        else if (outcome.reason instanceof assert.AssertionError) throw outcome.reason;
      }
      relay.heal();
    }
    assert.ok(how === 'swap' || answered > 0, 'some were answered before anything was amiss');
  });
}
