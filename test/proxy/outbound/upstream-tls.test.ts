// TLS to upstreams: who the upstream is, is decided by the configuration, and nothing is sent to anybody else.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type ServerOptions } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { eventually } from '../../rows/eventually.ts';
import { type TestCertificate, testAuthority } from '../../support/certificates.ts';
import { sendRaw } from '../../support/raw-client.ts';
import { configFor, startSidecar } from '../../support/sidecar.ts';
import { echoOn, handshake } from './echo.ts';
import { ask, before, states } from './members.ts';

const authority = testAuthority();
const stranger = testAuthority();
after(() => {
  authority[Symbol.dispose]();
  stranger[Symbol.dispose]();
});
const ours = authority.issue('app.test', 'DNS:app.test,DNS:other.test', 'serverAuth');
const trusting = { ca: { value: authority.certificate } };

/** An https server; `subjects` are the common names of client certificates. */
async function sealed(
  { certificate, key }: TestCertificate,
  host = '127.0.0.1',
  port = 0,
  options: ServerOptions = {},
) {
  const state = { requests: [] as string[], subjects: [] as string[], names: [] as unknown[], port: 0, url: '' };
  const server = createServer({ cert: certificate, key, ...options }, (request, response) => {
    const socket = request.socket as TLSSocket;
    state.requests.push(request.url ?? '');
    state.names.push(socket.servername);
    state.subjects.push(String(socket.getPeerCertificate().subject?.CN));
    response.end(`sealed by ${host}`);
  });
  server.on('tlsClientError', () => {});
  server.listen(port, host);
  await once(server, 'listening');
  state.port = (server.address() as AddressInfo).port;
  state.url = `https://${host.includes(':') ? `[${host}]` : host}:${state.port}`;
  return Object.assign(state, {
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  });
}

test('a wrong CA, a wrong name and an expired certificate are 502, and the upstream sees nothing of the request', async () => {
  const cases: readonly (readonly [string, TestCertificate, object])[] = [
    ['another CA', ours, { ca: { value: stranger.certificate }, server_name: 'app.test' }],
    ['the public CAs', ours, { server_name: 'app.test' }],
    ['another name', ours, { ...trusting, server_name: 'evil.test' }],
    ['the address, which it does not name', ours, trusting],
    [
      'expired',
      authority.issue('app.test', 'DNS:app.test', 'serverAuth', -1),
      { ...trusting, server_name: 'app.test' },
    ],
    [
      'for clients',
      authority.issue('app.test', 'DNS:app.test', 'clientAuth'),
      { ...trusting, server_name: 'app.test' },
    ],
  ];
  for (const [what, certificate, tls] of cases) {
    await using server = await sealed(certificate);
    await using sidecar = await before(server.url, { tls });
    const answer = await ask(sidecar, '/secret', { method: 'POST', body: 'secret' });
    assert.deepEqual([answer.status, answer.from], [502, 'upstream_unreachable'], what);
    assert.deepEqual(server.requests, [], what);
  }
});

test('the right CA and name are served, on connections that are used again; the Host of the client changes nothing', async () => {
  await using server = await sealed(ours);
  await using sidecar = await before(server.url, { tls: { ...trusting, server_name: 'app.test' } });
  for (const host of ['app', 'evil.test']) {
    const { responses } = await sendRaw(sidecar.port, `GET /${host} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    assert.equal(responses[0]?.body, 'sealed by 127.0.0.1');
  }
  assert.deepEqual(server.names, ['app.test', 'app.test']);
});

test('an address may be the name: IPv4 and IPv6', async () => {
  for (const host of ['127.0.0.1', '::1']) {
    await using server = await sealed(authority.issue('app', `IP:${host}`, 'serverAuth'), host);
    await using sidecar = await before(server.url, { tls: trusting });
    assert.equal((await ask(sidecar)).from, `sealed by ${host}`);
    assert.deepEqual(server.names, [false]);
  }
});

test('every address of a name must carry the certificate of that name', async () => {
  await using good = await sealed(ours, '127.0.0.1');
  await using impostor = await sealed(stranger.issue('app.test', 'DNS:app.test', 'serverAuth'), '127.0.0.2', good.port);
  const lookup = async () => ['127.0.0.1', '127.0.0.2'];
  await using sidecar = await before(`https://app.test:${good.port}`, { tls: trusting }, lookup);
  await eventually(async () => Object.keys(await states(sidecar)).length === 2, 5000);
  for (let n = 0; n < 6; n += 1) {
    assert.equal((await ask(sidecar, `/${n}`, { method: 'POST', body: 'x' })).from, 'sealed by 127.0.0.1');
  }
  assert.deepEqual(good.requests, ['/0', '/1', '/2', '/3', '/4', '/5']);
  assert.deepEqual(impostor.requests, []);
  await eventually(async () => (await states(sidecar))[`127.0.0.2:${good.port}`] === 'unreachable', 10_000);
});

test('an upstream that asks for a certificate gets ours', async () => {
  const client = authority.issue('doorward', 'DNS:doorward', 'clientAuth');
  const mutual = { requestCert: true, rejectUnauthorized: true, ca: authority.certificate };
  await using server = await sealed(ours, '127.0.0.1', 0, mutual);
  const tls = { ...trusting, server_name: 'app.test' };
  await using without = await before(server.url, { tls });
  assert.equal((await ask(without)).status, 502);
  const own = { certificate: { value: client.certificate }, key: { value: client.key } };
  await using sidecar = await before(server.url, { tls: { ...tls, ...own } });
  assert.equal((await ask(sidecar)).from, 'sealed by 127.0.0.1');
  assert.deepEqual(server.subjects, ['doorward']);
});

test('a CA file that changes counts from the next reload on, for new connections', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'doorward-ca-'));
  const file = join(folder, 'ca.pem');
  try {
    writeFileSync(file, stranger.certificate);
    await using server = await sealed(ours);
    await using sidecar = await before(server.url, { tls: { ca: { file }, server_name: 'app.test' } });
    assert.equal((await ask(sidecar)).status, 502);
    writeFileSync(file, authority.certificate);
    assert.equal((await sidecar.reload()).ok, true);
    assert.equal((await ask(sidecar)).from, 'sealed by 127.0.0.1');
    writeFileSync(file, stranger.certificate);
    assert.equal((await sidecar.reload()).ok, true);
    assert.equal((await ask(sidecar)).status, 502);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('a server that never answers the handshake costs connect_timeout, not response_timeout', async () => {
  const sockets: Socket[] = [];
  const silent = createTcpServer((socket) => void sockets.push(socket)).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  await using server = await sealed(ours);
  const urls = [`https://127.0.0.1:${(silent.address() as AddressInfo).port}`, server.url];
  const settings = { tls: { ...trusting, server_name: 'app.test' }, connect_timeout: '200ms' };
  await using sidecar = await before(urls, settings);
  const answer = await ask(sidecar, '/once', { method: 'POST', body: 'x' });
  assert.equal(answer.from, 'sealed by 127.0.0.1');
  assert.deepEqual(server.requests, ['/once']);
  for (const socket of sockets) socket.destroy();
  silent.close();
});

const webSockets = (url: string, tls: object) => ({
  upstreams: { app: { url, tls } },
  routes: { all: { match: { prefix: '/' }, auth: 'none' } },
});

test('WebSockets verify the name of the configuration too, whatever Host the client sends', async () => {
  await using echo = await echoOn({ host: '127.0.0.1', port: 0 }, { cert: ours.certificate, key: ours.key });
  const url = `https://127.0.0.1:${echo.port}`;
  await using sidecar = await startSidecar('', webSockets(url, { ...trusting, server_name: 'app.test' }));
  const { text } = await sendRaw(sidecar.port, [handshake('/chat', 'evil.test'), 'ping'], {
    responses: 9,
    timeoutMs: 1500,
  });
  assert.match(text, /^HTTP\/1\.1 101 /);
  assert.ok(text.endsWith('ping'), text);
  assert.deepEqual(echo.names, ['app.test']);
  // Before, the name was taken from Host, so that a client could choose which certificate passes.
  await using wrong = await startSidecar('', webSockets(url, { ...trusting, server_name: 'evil.test' }));
  const refused = await sendRaw(wrong.port, handshake('/chat', 'app.test'));
  assert.equal(refused.responses[0]?.status, 502);
  assert.equal(echo.targets.length, 1);
});

test('a key that does not belong to its certificate is refused at load', async () => {
  const other = authority.issue('other', 'DNS:other', 'clientAuth');
  const mine = authority.issue('mine', 'DNS:mine', 'clientAuth');
  const tls = { certificate: { value: mine.certificate }, key: { value: other.key } };
  await assert.rejects(before('https://127.0.0.1:1', { tls }), /belong/);
  await using sidecar = await before('https://127.0.0.1:1', {});
  sidecar.writeConfig(configFor('https://127.0.0.1:1', webSockets('https://127.0.0.1:1', tls)));
  assert.equal((await sidecar.reload()).ok, false);
});
