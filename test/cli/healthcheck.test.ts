// `healthcheck`, as the HEALTHCHECK of the image runs it.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { freePort } from '../support/free-port.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar } from '../support/sidecar.ts';
import { run, runHere, scratchFolder } from './processes.ts';

test('K24: healthcheck exits 0 beside a living sidecar and 4 when nobody answers', async () => {
  using folder = scratchFolder();
  await using upstream = await recordingUpstream();
  const port = await freePort();
  const file = folder.file('sidecar.yaml');
  // Secrets of the file are not there, as in the shell of somebody who looks into the container.
  writeFileSync(file, `observe: {listen: "0.0.0.0:${port}"}\nredis: {url: {env: NOT_SET}}\n`);
  const ask = (...more: string[]) => run(['healthcheck', '--config', file, ...more], { cwd: folder.path });
  const before = await ask();
  assert.deepEqual([before.code, before.out], [4, '']);
  assert.match(before.err, /^http:\/\/127\.0\.0\.1:\d+\/healthz does not answer \(ECONNREFUSED\)\n$/);
  await using _sidecar = await startSidecar(upstream.url, { observe: { listen: `127.0.0.1:${port}` } });
  const during = await ask();
  assert.deepEqual([during.code, JSON.parse(during.out).status], [0, 'alive']);
  assert.equal((await ask('--ready')).code, 0);
});

test('K24: healthcheck --ready exits 1 with the reasons once the sidecar drains, and plain healthcheck still 0', async () => {
  await using upstream = await recordingUpstream();
  const port = await freePort();
  const listen = `127.0.0.1:${port}`;
  await using sidecar = await startSidecar(upstream.url, { observe: { listen } });
  await sidecar.drain();
  const ready = await runHere(['healthcheck', '--ready', '--url', `http://${listen}`]);
  assert.equal(ready.code, 1);
  assert.match(ready.err, /answers 503: .*draining/);
  assert.equal((await runHere(['healthcheck', '--url', `http://${listen}`])).code, 0);
});

test('healthcheck says what it cannot ask', async () => {
  using folder = scratchFolder();
  const file = folder.file('sidecar.yaml');
  writeFileSync(file, 'observe: {listen: off}\n');
  const off = await runHere(['healthcheck', '--config', file]);
  assert.deepEqual([off.code, off.err.trim()], [3, 'observe.listen is off: there is no port to ask']);
  assert.equal((await runHere(['healthcheck', '--url', 'https://127.0.0.1:1'])).code, 2);
  // Somebody else on that port is no living sidecar.
  const other = createServer((_, response) => response.writeHead(404).end('no')).listen(0, '127.0.0.1');
  try {
    await new Promise((resolve) => other.once('listening', resolve));
    const { port } = other.address() as { port: number };
    assert.equal((await runHere(['healthcheck', '--url', `http://127.0.0.1:${port}`])).code, 1);
  } finally {
    other.close();
  }
});
