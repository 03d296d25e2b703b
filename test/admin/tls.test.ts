// TLS and client certificates on the admin port: nobody in without one of the right authority, each certificate an operator
// by its name, a new certificate without a restart, and no start with an authority that cannot be read.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from 'node:tls';
import { Agent, request } from 'undici';
import { loadConfig } from '../../src/config/load.ts';
import { type TestAuthority, type TestCertificate, testAuthority } from '../support/certificates.ts';
import { mintKey } from '../support/minting.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { type AdminSidecar, adminConfig, startAdminSidecar } from './admin-sidecar.ts';

async function world(authority: TestAuthority, clientCa: string | null = authority.certificate) {
  const database = await openTestDatabase();
  const folder = mkdtempSync(join(tmpdir(), 'doorward-tls-'));
  const server = authority.issue('localhost', 'DNS:localhost,IP:127.0.0.1', 'serverAuth');
  const write = ({ certificate, key }: TestCertificate) => {
    writeFileSync(join(folder, 'key.pem'), key);
    writeFileSync(join(folder, 'cert.pem'), certificate);
  };
  write(server);
  const tls = {
    certificate: { file: join(folder, 'cert.pem') },
    key: { file: join(folder, 'key.pem') },
    ...(clientCa === null ? {} : { client_ca: { value: clientCa } }),
  };
  const it = await startAdminSidecar((config) => ({
    ...config,
    ...postgresConfig(database),
    admin: { listen: '127.0.0.1:0', tls },
  }));
  return {
    it,
    write,
    async [Symbol.asyncDispose]() {
      await it[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function call(it: AdminSidecar, ca: string, shown?: TestCertificate, headers: Record<string, string> = {}) {
  const identity = shown === undefined ? {} : { cert: shown.certificate, key: shown.key };
  const agent = new Agent({ connect: { ca, ...identity } });
  try {
    const answer = await request(`${it.sidecar.adminUrl}/v1/revocations`, { dispatcher: agent, headers });
    await answer.body.dump();
    return answer.statusCode;
  } catch {
    return 'refused';
  } finally {
    await agent.destroy();
  }
}

const register = async (it: AdminSidecar, certificate: string) => {
  const body = { name: `op-${certificate.slice(0, 20).replaceAll(/[^a-z0-9]/g, '')}`, role: 'viewer', certificate };
  const { status, text } = await it.socket('POST', '/v1/operators', { body });
  assert.equal(status, 201, text);
};

test('a client certificate is an operator by its digest, alternative name or common name, and nobody without one', async () => {
  using authority = testAuthority();
  await using w = await world(authority);
  const { it } = w;
  const ca = authority.certificate;
  assert.ok(it.sidecar.adminUrl?.startsWith('https://'));
  const cases: [string, TestCertificate][] = [
    ['dns:robot.example.com', authority.issue('a', 'DNS:robot.example.com', 'clientAuth')],
    ['uri:spiffe://corp/ns/ops', authority.issue('b', 'URI:spiffe://corp/ns/ops', 'clientAuth')],
    ['email:ops@example.com', authority.issue('c', 'email:ops@example.com', 'clientAuth')],
    ['cn:carol', authority.issue('carol', 'DNS:d.example.com', 'clientAuth')],
  ];
  const pinned = authority.issue('e', 'DNS:e.example.com', 'clientAuth');
  const digest = new X509Certificate(pinned.certificate).fingerprint256.replaceAll(':', '').toLowerCase();
  cases.push([`sha256:${digest}`, pinned]);
  for (const [name, shown] of cases) {
    assert.equal(await call(it, ca, shown), 401, `${name} before`);
    await register(it, name);
    assert.equal(await call(it, ca, shown), 200, name);
  }
  assert.equal(await call(it, ca), 'refused');
});

test('attack 128: a certificate of another authority, or none, ends the handshake, token or not', async () => {
  using authority = testAuthority();
  using stranger = testAuthority();
  await using w = await world(authority);
  await register(w.it, 'dns:robot.example.com');
  const authorization = `Bearer ${w.it.adminToken}`;
  const forged = stranger.issue('robot.example.com', 'DNS:robot.example.com', 'clientAuth');
  assert.equal(await call(w.it, authority.certificate, forged, { authorization }), 'refused');
  assert.equal(await call(w.it, authority.certificate, undefined, { authorization }), 'refused');
  const known = authority.issue('x', 'DNS:x.example.com', 'clientAuth');
  assert.equal(await call(w.it, authority.certificate, known, { authorization }), 200);
});

test('attack 128: client authorities that cannot be read, or are none, refuse the start', async () => {
  using authority = testAuthority();
  const leaf = authority.issue('x', 'DNS:x', 'clientAuth').certificate;
  const broken = authority.certificate.replace(/[A-Za-z0-9+/]{20}\n/, '\n');
  const server = authority.issue('localhost', 'DNS:localhost', 'serverAuth');
  const folder = mkdtempSync(join(tmpdir(), 'doorward-tls-'));
  const file = join(folder, 'sidecar.yaml');
  const load = (clientCa: string) => {
    const tls = {
      certificate: { value: server.certificate },
      key: { value: server.key },
      client_ca: { value: clientCa },
    };
    const config = adminConfig('http://127.0.0.1:1', mintKey('ES256'));
    writeFileSync(file, JSON.stringify({ ...config, admin: { listen: '127.0.0.1:0', tls } }));
    return loadConfig({ file, env: {} });
  };
  try {
    load(authority.certificate);
    for (const clientCa of ['nonsense', leaf, `${authority.certificate}${broken}`]) {
      assert.throws(() => load(clientCa), /client_ca: holds no PEM certificates/);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('attack 126: over TLS a foreign Origin is refused, and the own one is https', async () => {
  using authority = testAuthority();
  await using w = await world(authority, null);
  const authorization = `Bearer ${w.it.adminToken}`;
  const own = new URL(w.it.sidecar.adminUrl as string).origin;
  const ask = (origin: string) => call(w.it, authority.certificate, undefined, { authorization, origin });
  assert.deepEqual(
    [await ask(own), await ask('https://evil.example'), await ask(own.replace('https', 'http'))],
    [200, 403, 403],
  );
});

test('a renewed certificate is served after a reload, and a pair that does not fit leaves the old one in force', async () => {
  using authority = testAuthority();
  await using w = await world(authority, null);
  const { port } = new URL(w.it.sidecar.adminUrl as string);
  const served = () =>
    new Promise<string>((resolve, reject) => {
      const socket = connect({ port: Number(port), host: '127.0.0.1', ca: authority.certificate }, () => {
        resolve(socket.getPeerCertificate().subject.CN as string);
        socket.destroy();
      });
      socket.on('error', reject);
    });
  assert.equal(await served(), 'localhost');
  const next = authority.issue('renewed', 'DNS:localhost,IP:127.0.0.1', 'serverAuth');
  w.write({ ...next, key: authority.issue('other', 'DNS:other', 'serverAuth').key });
  assert.equal((await w.it.sidecar.reload()).ok, false);
  assert.equal(await served(), 'localhost');
  w.write(next);
  assert.equal((await w.it.sidecar.reload()).ok, true);
  assert.equal(await served(), 'renewed');
});
