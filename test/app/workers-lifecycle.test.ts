// How several processes begin and end together: signals, drains, a primary that is killed, workers that will not live.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { exitCodes } from '../../src/cli/exit-codes.ts';
import { run, scratchFolder } from '../cli/processes.ts';
import { freePort } from '../support/free-port.ts';
import { configFor, tokenFor } from '../support/sidecar.ts';
import { childrenOf, eventually, lives, several } from './several.ts';

test('SIGTERM drains every process: what is under way finishes, and the program exits with 0', async () => {
  const waiting: (() => void)[] = [];
  await using it = await several({ proxy: { drain: { delay: '200ms', timeout: '30s' } } }, (request, response) => {
    if (request.url !== '/slow') response.end('quick');
    else waiting.push(() => response.end('slow'));
  });
  const token = tokenFor();
  const slow = Array.from({ length: 12 }, () => it.status(token, '/slow'));
  await eventually(() => waiting.length === 12, 'all of them are under way');
  const workers = it.workers();
  it.program.signal('SIGTERM');
  await eventually(async () => (await it.ready()).status === 503, 'readiness fails');
  await eventually(async () => (await it.status(token)) === 0, 'nothing is accepted any more');
  assert.deepEqual(workers.map(lives), [true, true]);
  for (const answer of waiting) answer();
  assert.deepEqual([...new Set(await Promise.all(slow))], [200]);
  const { code, err } = await it.program.ended;
  assert.deepEqual([code, err], [0, '']);
  assert.deepEqual(workers.map(lives), [false, false]);
  const ended = it.logged().filter(({ event }) => String(event) === 'drain_ended');
  assert.deepEqual(
    ended.map(({ complete }) => complete),
    [true, true, true],
  );
});

test('drain over the admin port drains every process', async () => {
  await using it = await several();
  assert.equal(await it.status(tokenFor()), 200);
  const { status, json } = await it.admin('POST', '/v1/drain?wait=60s', {});
  assert.deepEqual([status, String(json.state)], [200, 'drained']);
  assert.equal(await it.status(tokenFor()), 0);
});

test('signals that a terminal sends to every process are the business of the primary', async () => {
  await using it = await several();
  const workers = it.workers();
  for (const pid of workers) for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(pid, signal);
  assert.equal(await it.status(tokenFor()), 200);
  assert.deepEqual(it.workers(), workers);
  for (const pid of workers) process.kill(pid, 'SIGINT');
  it.program.signal('SIGINT');
  assert.equal((await it.program.ended).code, 0);
});

test('a primary that is killed takes its workers with it, and the next one finds the port free', async () => {
  // A port of the range that the system hands out could be somebody else's by the time it is wanted again.
  const listen = `127.0.0.1:${await freePort()}`;
  await using it = await several({ proxy: { listen } });
  const workers = it.workers();
  it.program.signal('SIGKILL');
  await it.program.ended;
  await eventually(() => !workers.some(lives), 'the workers end');
  await using again = await several({ proxy: { listen } });
  assert.equal(await again.status(tokenFor()), 200);
});

test('a worker that dies again and again ends the program, with an exit code of its own', async () => {
  await using it = await several();
  const { pid } = it.program;
  let kills = 0;
  const killing = (async () => {
    while (lives(pid)) {
      const [last] = childrenOf(pid).slice(-1);
      if (last !== undefined) {
        try {
          process.kill(last, 'SIGKILL');
          kills += 1;
        } catch {
          // Gone already.
        }
      }
      await sleep(20);
    }
  })();
  const { code, err } = await it.program.ended;
  await killing;
  assert.equal(code, exitCodes.workers_failed);
  assert.match(err, /^worker \d died 5 times within 10000 ms of its start\n$/);
  assert.ok(kills >= 5);
});

test('a second program on the same port is refused as if there were one process', async () => {
  await using it = await several();
  using folder = scratchFolder();
  const config = configFor(it.upstream.url, {
    redis: { url: { value: it.redis.url } },
    proxy: { workers: 2, listen: new URL(it.proxy).host },
  });
  writeFileSync(folder.file('sidecar.yaml'), JSON.stringify(config));
  const { code, err } = await run(['run'], { cwd: folder.path });
  assert.deepEqual([code, err], [1, `${new URL(it.proxy).host} is in use\n`]);
  assert.equal(await it.status(tokenFor()), 200);
});
