// Upstreams behind Unix sockets.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { sendRaw } from '../../support/raw-client.ts';
import { startSidecar } from '../../support/sidecar.ts';
import { echoOn, handshake } from './echo.ts';
import { ask, before, member, states } from './members.ts';

function scratch(): { path: string } & Disposable {
  const folder = mkdtempSync(join(tmpdir(), 'doorward-socket-'));
  return { path: join(folder, 'app.sock'), [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}

test('requests and bodies go through a Unix socket; Host is that of the client, localhost, or the one that is named', async () => {
  using at = scratch();
  await using app = await member('app', at.path);
  for (const [host, wanted] of [
    ['preserve', /^127\.0\.0\.1:\d+$/],
    ['upstream', /^localhost$/],
    ['app.example', /^app\.example$/],
  ] as const) {
    await using sidecar = await before(app.url, { host });
    const answer = await ask(sidecar, '/a?b', { method: 'POST', body: 'x'.repeat(100_000) });
    assert.equal(answer.from, 'app');
    assert.match(String(answer.headers['x-host']), wanted);
    assert.deepEqual(await states(sidecar), { [at.path]: 'up' });
  }
  assert.equal(app.seen[0], `POST /a?b ${'x'.repeat(100_000)}`);
});

test('a socket that is not there is 502, and served as soon as it is', async () => {
  using at = scratch();
  const app = await member('app', at.path);
  await using sidecar = await before(app.url);
  app.kill();
  rmSync(at.path, { force: true });
  assert.match((await ask(sidecar)).from, /^upstream_(unreachable|reset)$/);
  await app.start();
  assert.equal((await ask(sidecar)).from, 'app');
  app.kill();
});

test('a socket and a port may be endpoints of one upstream', async () => {
  using at = scratch();
  await using one = await member('one', at.path);
  await using two = await member('two');
  await using sidecar = await before([one.url, two.url]);
  const from = [(await ask(sidecar)).from, (await ask(sidecar)).from];
  assert.deepEqual(from, ['one', 'two']);
});

test('WebSockets go through a Unix socket', async () => {
  using at = scratch();
  await using echo = await echoOn({ path: at.path });
  await using sidecar = await startSidecar('', {
    upstreams: { app: { url: `unix:${at.path}` } },
    routes: { all: { match: { prefix: '/' }, auth: 'none' } },
  });
  const { text } = await sendRaw(sidecar.port, [handshake('/chat'), 'ping'], { responses: 9, timeoutMs: 1500 });
  assert.match(text, /^HTTP\/1\.1 101 /);
  assert.ok(text.endsWith('ping'), text);
  assert.equal(echo.targets[0], '/chat');
});
