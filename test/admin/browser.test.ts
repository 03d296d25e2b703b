// No browser page reaches the admin port, whatever name it gives loopback (attack 126).
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { sidecarSchema } from '../../src/config/schema.ts';
import { type AdminSidecar, startAdminSidecar } from './admin-sidecar.ts';

async function ask(it: AdminSidecar, fields: readonly string[], path = '/v1/drain'): Promise<string> {
  const { hostname, port } = new URL(it.sidecar.adminUrl as string);
  const socket = connect(Number(port), hostname);
  const lines = [`POST ${path} HTTP/1.1`, ...fields, `Authorization: Bearer ${it.adminToken}`, 'Connection: close'];
  socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  const answer = await text(socket);
  return answer.slice(9, 12);
}

test('attack 126: a foreign Host (DNS rebinding) is refused before anything else, with a right token too', async () => {
  await using it = await startAdminSidecar();
  const { port } = new URL(it.sidecar.adminUrl as string);
  const foreign = [
    'evil.example',
    `evil.example:${port}`,
    'localhost.evil.example',
    '127.0.0.1.nip.io',
    '0.0.0.0',
    '169.254.1.1',
  ];
  for (const host of foreign) assert.equal(await ask(it, [`Host: ${host}`]), '403', host);
  for (const bad of [[], ['Host: '], ['Host: a b'], ['Host: localhost', 'Host: evil.example']]) {
    assert.equal(await ask(it, bad), '400', String(bad));
  }
  assert.equal((await it.observe('GET', '/readyz')).status, 200);
});

test('attack 126: a foreign, null or sibling Origin (CSRF) is refused, and so is what a browser marks cross-site', async () => {
  await using it = await startAdminSidecar();
  const { host, port } = new URL(it.sidecar.adminUrl as string);
  const pages = [
    'Origin: https://evil.example',
    'Origin: null',
    `Origin: http://localhost:${port}`,
    `Origin: https://${host}`,
    'Sec-Fetch-Site: cross-site',
    'Sec-Fetch-Site: same-site',
  ];
  for (const field of pages) assert.equal(await ask(it, [`Host: ${host}`, field]), '403', field);
  assert.equal((await it.observe('GET', '/readyz')).status, 200);
});

test('loopback names and the own origin may call', async () => {
  await using it = await startAdminSidecar();
  const { host, port } = new URL(it.sidecar.adminUrl as string);
  for (const name of [host, `localhost:${port}`, 'localhost', `[::1]:${port}`, 'LOCALHOST']) {
    assert.equal(await ask(it, [`Host: ${name}`], '/v1/nothing'), '404', name);
  }
  const own = [`Host: ${host}`, `Origin: http://${host}`, 'Sec-Fetch-Site: same-origin'];
  assert.equal(await ask(it, own, '/v1/nothing'), '404');
});

test('attack 126: the admin port listens on loopback by default, and its socket is for the same uid', async () => {
  const { admin } = sidecarSchema.parse({
    version: 1,
    upstreams: { app: { url: 'http://127.0.0.1:1' } },
    routes: { all: { match: { prefix: '/' } } },
  });
  assert.equal(admin.listen, '127.0.0.1:9900');
  await using it = await startAdminSidecar();
  assert.equal(statSync(it.sidecar.socketPath).mode & 0o777, 0o600);
  assert.equal(statSync(it.sidecar.stateDir).mode & 0o777, 0o700);
});

test('attack 126: the data plane and the observe port do not serve the admin API', async () => {
  await using it = await startAdminSidecar();
  assert.equal((await it.observe('GET', '/v1/status')).status, 404);
  assert.equal((await it.observe('POST', '/readyz')).status, 405);
  assert.equal((await it.proxy('/v1/status', it.adminToken)).status, 401);
  assert.equal(it.upstream.bytes(), '');
});
