// TLS on the proxy port: certificates by server name, renewed while connections go on, and nothing served under a name that
// the certificate of the connection does not bear.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectPlain } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { handshake, streamUpstream } from '../attacks/streams.ts';
import { eventually } from '../attacks/world.ts';
import { type TestAuthority, type TestCertificate, testAuthority } from '../support/certificates.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startBefore, startSidecar, type TestSidecar, tokenFor } from '../support/sidecar.ts';
import { askOn, askTls, connectTls } from '../support/tls-client.ts';

const run = promisify(execFile);
const inline = ({ certificate, key }: TestCertificate, hosts?: readonly string[]) => ({
  certificate: { value: certificate },
  key: { value: key },
  ...(hosts && { hosts }),
});
const get = (host: string, path = '/', fields: readonly string[] = [], token = tokenFor()) =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${token}\r\n${fields.map((line) => `${line}\r\n`).join('')}\r\n`;

async function world(tls: Readonly<Record<string, unknown>>, proxy: Readonly<Record<string, unknown>> = {}) {
  const at = await startBefore(await recordingUpstream(), { proxy: { tls, ...proxy } });
  return { ...at, port: at.sidecar.port };
}

const two = (authority: TestAuthority) => [
  inline(authority.issue('app', 'DNS:app.test,DNS:*.wild.test,IP:127.0.0.1', 'serverAuth')),
  inline(authority.issue('other', 'DNS:other.test', 'serverAuth')),
];
const commonName = (socket: TLSSocket) => socket.getPeerCertificate().subject.CN;
const metric = async (sidecar: TestSidecar, name: string) => {
  const text = await (await fetch(`${sidecar.observeUrl}/metrics`)).text();
  return text.split('\n').filter((line) => line.startsWith(name));
};

test('the server name picks the certificate, the first one serves clients that name none, and others are refused', async () => {
  using authority = testAuthority();
  await using w = await world({ certificates: two(authority) });
  const shown = async (servername: string) => {
    const socket = await connectTls(w.port, {
      ca: authority.certificate,
      servername,
      checkServerIdentity: () => undefined,
    });
    const name = commonName(socket);
    socket.destroy();
    return name;
  };
  assert.deepEqual(
    [await shown('app.test'), await shown('A.WILD.test'), await shown('other.test'), await shown('')],
    ['app', 'app', 'other', 'app'],
  );
  await assert.rejects(shown('stranger.test'));
  await assert.rejects(shown('a.b.wild.test'));
  await eventually(async () =>
    (await metric(w.sidecar, 'doorward_tls_handshakes_failed_total')).join().includes('server_name'),
  );
});

test('with unknown_host: first, a name that no certificate is for is served with the first', async () => {
  using authority = testAuthority();
  await using w = await world({ certificates: two(authority), unknown_host: 'first' });
  const socket = await connectTls(w.port, {
    ca: authority.certificate,
    servername: 'stranger.test',
    checkServerIdentity: () => undefined,
  });
  assert.equal(commonName(socket), 'app');
  const [stranger] = await askOn(socket, get('stranger.test'));
  const [other] = await askOn(socket, get('other.test'));
  socket.destroy();
  assert.deepEqual([stranger?.status, other?.status], [200, 421]);
});

test('hosts of the configuration stand in the place of the names in the certificate', async () => {
  using authority = testAuthority();
  const pair = authority.issue('internal', 'DNS:internal.test', 'serverAuth');
  await using w = await world({ certificates: [inline(pair, ['public.test', '*.public.test'])] });
  const options = { ca: authority.certificate, checkServerIdentity: () => undefined };
  const status = async (host: string) => {
    const answer = await askTls(w.port, { ...options, servername: host }, get(host));
    return answer === 'refused' ? answer : answer.status;
  };
  assert.deepEqual(
    [await status('public.test'), await status('a.public.test'), await status('internal.test')],
    [200, 200, 'refused'],
  );
});

test('the application is told https, and curl gets its answer', async () => {
  using authority = testAuthority();
  await using w = await world({ certificates: two(authority) });
  const folder = mkdtempSync(join(tmpdir(), 'doorward-tls-'));
  writeFileSync(join(folder, 'ca.pem'), authority.certificate);
  try {
    const { stdout } = await run('curl', [
      '-sS',
      '--cacert',
      join(folder, 'ca.pem'),
      '--resolve',
      `app.test:${w.port}:127.0.0.1`,
      '-H',
      `Authorization: Bearer ${tokenFor()}`,
      '-H',
      'X-Forwarded-Proto: http',
      `https://app.test:${w.port}/path`,
    ]);
    assert.equal(JSON.parse(stdout).url, '/path');
    assert.equal(w.upstream.seen[0]?.headers['x-forwarded-proto'], 'https');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('attack 7: over TLS an absolute-form target must say https and the authority of Host', async () => {
  using authority = testAuthority();
  await using w = await world({ certificates: two(authority) });
  const socket = await connectTls(w.port, { ca: authority.certificate, servername: 'app.test' });
  const status = async (target: string, host = 'app.test') => (await askOn(socket, get(host, target)))[0]?.status;
  assert.equal(await status('https://app.test/a'), 200);
  assert.equal(await status('https://app.test:443/a'), 200);
  socket.destroy();
  for (const target of ['http://app.test/a', 'https://app.test:80/a', 'https://other.test/a']) {
    const answer = await askTls(w.port, { ca: authority.certificate, servername: 'app.test' }, get('app.test', target));
    assert.equal(answer === 'refused' ? answer : answer.status, 400, target);
  }
  assert.equal(w.upstream.seen.length, 2);
});

test('a Host that the certificate of the connection is not for is 421, and the upstream sees nothing', async () => {
  using authority = testAuthority();
  await using w = await world({ certificates: two(authority) });
  const socket = await connectTls(w.port, { ca: authority.certificate, servername: 'app.test' });
  for (const host of ['other.test', 'stranger.test', 'other.test:443', '127.0.0.2']) {
    const [answer] = await askOn(socket, get(host));
    assert.equal(answer?.status, 421, host);
    assert.equal(JSON.parse(answer?.body ?? '').code, 'misdirected_request');
  }
  assert.equal(w.upstream.seen.length, 0);
  for (const host of ['app.test', 'x.wild.test', '127.0.0.1', 'APP.test.:443']) {
    assert.equal((await askOn(socket, get(host)))[0]?.status, 200, host);
  }
  socket.destroy();
});

test('a renewed certificate is served to new connections, open ones go on, and a bad one leaves the old and says so', async () => {
  using authority = testAuthority();
  const folder = mkdtempSync(join(tmpdir(), 'doorward-tls-'));
  const write = ({ certificate, key }: TestCertificate) => {
    writeFileSync(join(folder, 'key.pem'), key);
    writeFileSync(join(folder, 'cert.pem'), certificate);
  };
  write(authority.issue('first', 'DNS:app.test', 'serverAuth'));
  const files = { certificate: { file: join(folder, 'cert.pem') }, key: { file: join(folder, 'key.pem') } };
  try {
    await using w = await world({ certificates: [files] });
    const options = { ca: authority.certificate, servername: 'app.test' };
    const fresh = async () => {
      const socket = await connectTls(w.port, options);
      const name = commonName(socket);
      socket.destroy();
      return name;
    };
    const held = await connectTls(w.port, options);
    assert.equal((await askOn(held, get('app.test')))[0]?.status, 200);
    const renewed = authority.issue('renewed', 'DNS:app.test', 'serverAuth');
    write({ ...renewed, key: authority.issue('stranger', 'DNS:app.test', 'serverAuth').key });
    await eventually(() => w.sidecar.logText().includes('config_reload_refused'), 20_000);
    assert.match(
      w.sidecar.logText(),
      /proxy\.tls\.certificates\[0\]: has a certificate and key that cannot be read or do not belong together/,
    );
    assert.deepEqual(await metric(w.sidecar, 'doorward_config_reload_success'), ['doorward_config_reload_success 0']);
    assert.equal(await fresh(), 'first');
    write(renewed);
    await eventually(async () => (await fresh()) === 'renewed', 20_000);
    assert.equal((await askOn(held, get('app.test')))[0]?.status, 200);
    assert.equal(commonName(held), 'first');
    held.destroy();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('versions below min_version are refused', async () => {
  using authority = testAuthority();
  await using w = await world({ certificates: two(authority), min_version: 'TLSv1.3' });
  const options = { ca: authority.certificate, servername: 'app.test' };
  await assert.rejects(connectTls(w.port, { ...options, maxVersion: 'TLSv1.2' }));
  const socket = await connectTls(w.port, options);
  assert.equal(socket.getProtocol(), 'TLSv1.3');
  socket.destroy();
});

test('renegotiation is refused', async () => {
  using authority = testAuthority();
  await using w = await world({ certificates: two(authority) });
  const socket = await connectTls(w.port, { ca: authority.certificate, servername: 'app.test', maxVersion: 'TLSv1.2' });
  const failed = new Promise<{ code?: string }>((resolve) => socket.once('error', resolve));
  socket.renegotiate({}, () => undefined);
  assert.equal((await failed).code, 'ERR_SSL_NO_RENEGOTIATION');
});

test('sessions are resumed, so that returning clients are spared a handshake', async () => {
  using authority = testAuthority();
  await using w = await world({ certificates: two(authority) });
  const options = { ca: authority.certificate, servername: 'app.test' };
  const first = await connectTls(w.port, options);
  const session = once(first, 'session') as Promise<[Buffer]>;
  await askOn(first, get('app.test'));
  const [ticket] = await session;
  first.destroy();
  const second = await connectTls(w.port, { ...options, session: ticket });
  assert.equal(second.isSessionReused(), true);
  assert.equal((await askOn(second, get('app.test')))[0]?.status, 200);
  second.destroy();
});

test('a client that never shakes hands is cut after header_timeout, and none holds up the end', async () => {
  using authority = testAuthority();
  await using w = await world({ certificates: two(authority) }, { header_timeout: '500ms' });
  const silent = connectPlain(w.port, '127.0.0.1');
  silent.on('error', () => {});
  await once(silent, 'close');
  await eventually(async () =>
    (await metric(w.sidecar, 'doorward_tls_handshakes_failed_total')).join().includes('timeout'),
  );
  const last = connectPlain(w.port, '127.0.0.1');
  last.on('error', () => {});
  await once(last, 'connect');
});

test('plain HTTP on the TLS port gets no answer and reaches nobody', async () => {
  using authority = testAuthority();
  await using w = await world({ certificates: two(authority) });
  const socket = connectPlain(w.port, '127.0.0.1');
  socket.on('error', () => {});
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
  });
  socket.write(get('app.test'));
  await once(socket, 'close');
  assert.ok(!text.startsWith('HTTP/'));
  assert.equal(w.upstream.seen.length, 0);
  assert.ok(!w.sidecar.logText().includes('request_malformed'));
});

test('a WebSocket over TLS is a tunnel, and one to a foreign host is 421', async () => {
  using authority = testAuthority();
  await using upstream = await streamUpstream();
  await using sidecar = await startSidecar(upstream.url, { proxy: { tls: { certificates: two(authority) } } });
  const port = Number(new URL(sidecar.proxyUrl).port);
  const options = { ca: authority.certificate, servername: 'app.test' };
  const socket = await connectTls(port, options);
  const [opened] = await askOn(socket, get('app.test', '/ws', handshake));
  assert.equal(opened?.status, 101);
  socket.destroy();
  const foreign = await askTls(port, options, get('other.test', '/ws', handshake));
  assert.equal(foreign === 'refused' ? foreign : foreign.status, 421);
});
