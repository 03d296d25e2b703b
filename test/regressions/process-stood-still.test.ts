// A process that stands still for a while (a CPU quota, a machine that is paused) must not take its own silence for that of its
// peers: timers ran before sockets were read, and what had long been answered was a timeout.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { systemClock } from '../../src/core/clock.ts';
import { Connections } from '../../src/proxy/outbound/http1/connections.ts';
import { openRedis } from '../../src/stores/redis/backend.ts';
import { charge } from '../conformance/checks.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';

/** Nothing of this process runs meanwhile. */
const standStill = (ms: number) => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** An application of its own process: says when a request has come, and answers a moment later. */
async function application() {
  const program = `require('node:http').createServer((_, response) => {
    console.log('asked');
    setTimeout(() => response.end('served'), 100);
  }).listen(0, '127.0.0.1', function () { console.log(this.address().port); });`;
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface(child.stdout);
  const line = async () => String((await once(lines, 'line'))[0]);
  const port = Number(await line());
  return {
    url: `http://127.0.0.1:${port}`,
    line,
    async [Symbol.asyncDispose]() {
      child.kill();
      await once(child, 'exit');
    },
  };
}

test('answers of Redis that arrived meanwhile are in time', async () => {
  await using server = await startRedis();
  await using backend = openRedis({ url: server.url, prefix: 't', timeoutMs: 50 });
  assert.equal(await backend.ready(10_000), true);
  // Longer than this would end the connection for its silence; Redis may need longer where the machine is busy.
  const answered = async () => {
    // From here on timers are next.
    await turn();
    const asked = backend.checks.check([[charge(100, 60_000)]]);
    standStill(500);
    return (await asked).results.length;
  };
  for (let tries = 1; ; tries += 1) {
    const count = await answered().catch(() => 0);
    if (count === 1) break;
    assert.ok(tries < 10, 'every answer was late');
  }
});

test('an answer of the application that arrived meanwhile is in time', async () => {
  await using app = await application();
  await using sidecar = await startSidecar(app.url, { defaults: { response_timeout: '300ms' } });
  const asked = fetch(sidecar.proxyUrl, { headers: { authorization: `Bearer ${tokenFor()}` } });
  assert.equal(await app.line(), 'asked');
  standStill(1500);
  assert.equal((await asked).status, 200);
});

test('a connection to the application that was made meanwhile is made', async () => {
  await using upstream = await recordingUpstream();
  const came: string[] = [];
  const connections = new Connections({
    ...{ address: { host: '127.0.0.1', port: upstream.port }, tls: undefined, connectTimeoutMs: 20 },
    ...{ keepAliveMs: 1000, maxAgeMs: Number.POSITIVE_INFINITY, monotonicMs: systemClock.monotonicMs },
    onConnected: () => void came.push('connected'),
    onUnreachable: () => void came.push('unreachable'),
  });
  const opened = Promise.withResolvers<void>();
  const socket = connections.open({ onOpen: opened.resolve, onUnreachable: opened.resolve });
  await turn();
  standStill(300);
  await opened.promise;
  assert.deepEqual(came, ['connected']);
  socket.destroy();
});
