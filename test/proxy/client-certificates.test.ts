// Client certificates on the proxy port: as the credential of routes that say so, as what tokens are bound to, and never by
// word of a header or of a proxy's own connection.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { ClientCertificate } from '../../src/http/client-certificate.ts';
import { certificatePlan } from '../../src/proxy/decide/certificate.ts';
import type { Exchange } from '../../src/proxy/exchange.ts';
import { VerifiedToken } from '../../src/token/verified-token.ts';
import { admin, eventually } from '../attacks/world.ts';
import { type TestCertificate, testAuthority } from '../support/certificates.ts';
import { parseText, SMALLEST } from '../support/config-text.ts';
import { askHttp2, openHttp2 } from '../support/http2-client.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startBefore, startSidecar, tokenFor } from '../support/sidecar.ts';
import { askOn, askTls, connectTls } from '../support/tls-client.ts';

const authority = testAuthority();
const stranger = testAuthority();
after(() => {
  authority[Symbol.dispose]();
  stranger[Symbol.dispose]();
});
const server = authority.issue('app', 'DNS:app.test', 'serverAuth');
const robot = authority.issue('robot', 'URI:spiffe://corp/robot,DNS:robot.test', 'clientAuth');
const other = authority.issue('other', 'URI:spiffe://corp/other,DNS:other.test', 'clientAuth');
const forged = stranger.issue('robot', 'URI:spiffe://corp/robot', 'clientAuth');
const SOON = 20_000;
const ISSUER = 'urn:doorward:client-certificate';
const digestOf = ({ certificate }: TestCertificate) =>
  new X509Certificate(certificate).fingerprint256.replaceAll(':', '').toLowerCase();
const thumbprint = (of: TestCertificate) => Buffer.from(digestOf(of), 'hex').toString('base64url');

const tlsOf = (more: Readonly<Record<string, unknown>> = {}) => ({
  certificates: [{ certificate: { value: server.certificate }, key: { value: server.key } }],
  client_ca: { value: authority.certificate },
  client_certificate: 'optional',
  ...more,
});

const routes = {
  robots: { match: { prefix: '/robots' }, credentials: ['certificate'] },
  both: { match: { prefix: '/both' }, credentials: ['bearer', 'certificate'] },
  tokens: { match: { prefix: '/tokens' } },
  scoped: { match: { prefix: '/scoped' }, credentials: ['certificate'], require: { scopes: ['read'] } },
  open: { match: { prefix: '/open' }, auth: 'optional', credentials: ['bearer', 'certificate'] },
};

async function world(tls = tlsOf(), config: Readonly<Record<string, unknown>> = {}) {
  const { proxy = {}, ...rest } = config as { proxy?: object };
  return startBefore(await recordingUpstream(), { proxy: { tls, ...proxy }, routes, ...rest });
}

const optionsFor = (shown?: TestCertificate) => ({
  ca: authority.certificate,
  servername: 'app.test',
  ...(shown && { cert: shown.certificate, key: shown.key }),
});
const get = (path: string, fields: readonly string[] = []) =>
  `GET ${path} HTTP/1.1\r\nHost: app.test\r\n${fields.map((line) => `${line}\r\n`).join('')}\r\n`;

async function ask(port: number, shown: TestCertificate | undefined, path: string, fields: readonly string[] = []) {
  const answer = await askTls(port, optionsFor(shown), get(path, fields));
  return answer === 'refused' ? answer : answer.status;
}
const bearer = (claims: Readonly<Record<string, unknown>> = {}) => `Authorization: Bearer ${tokenFor(claims)}`;
const bound = (to: TestCertificate) => bearer({ cnf: { 'x5t#S256': thumbprint(to) } });

test('a certificate is a principal on routes that list it, and the application is told who', async () => {
  await using w = await world();
  assert.equal(await ask(w.sidecar.port, robot, '/robots', ['X-Auth-Subject: root']), 200);
  const seen = w.upstream.seen[0]?.headers;
  assert.deepEqual(
    [seen?.['x-auth-subject'], seen?.['x-auth-client'], seen?.['x-auth-issuer'], seen?.['x-auth-token-id']],
    ['spiffe://corp/robot', 'spiffe://corp/robot', ISSUER, `sha256:${digestOf(robot)}`],
  );
  assert.deepEqual(
    [
      await ask(w.sidecar.port, undefined, '/robots'),
      await ask(w.sidecar.port, robot, '/tokens'),
      await ask(w.sidecar.port, robot, '/scoped'),
      await ask(w.sidecar.port, undefined, '/open'),
      await ask(w.sidecar.port, robot, '/open'),
    ],
    [401, 401, 403, 200, 200],
  );
});

test('attack 128: a certificate of another authority ends the connection, though certificates are optional', async () => {
  await using w = await world();
  assert.deepEqual(
    [await ask(w.sidecar.port, forged, '/robots'), await ask(w.sidecar.port, forged, '/open')],
    ['refused', 'refused'],
  );
  assert.equal(w.upstream.seen.length, 0);
});

test('attack 128: with client_certificate: required nobody gets in without one of the authority', async () => {
  await using w = await world(tlsOf({ client_certificate: 'required' }));
  assert.deepEqual(
    [
      await ask(w.sidecar.port, undefined, '/open'),
      await ask(w.sidecar.port, forged, '/open'),
      await ask(w.sidecar.port, undefined, '/tokens', [bearer()]),
      await ask(w.sidecar.port, robot, '/tokens', [bearer()]),
    ],
    ['refused', 'refused', 'refused', 200],
  );
});

test('a token beside a certificate counts where the route takes both', async () => {
  await using w = await world();
  assert.equal(await ask(w.sidecar.port, robot, '/both', [bearer()]), 200);
  assert.equal(await ask(w.sidecar.port, robot, '/both'), 200);
  assert.equal(await ask(w.sidecar.port, robot, '/both', ['Authorization: Bearer nonsense']), 401);
  assert.deepEqual(
    w.upstream.seen.map(({ headers }) => headers['x-auth-subject']),
    ['alice', 'spiffe://corp/robot'],
  );
});

test('a name that no revocation could name, or no header say, is none', async () => {
  for (const [from, shown] of [
    ['common_name', authority.issue('robot\nroot', 'DNS:robot.test', 'clientAuth')],
    ['uri', authority.issue('robot', `URI:spiffe://corp/${'x'.repeat(1024)}`, 'clientAuth')],
  ] as const) {
    await using w = await world(tlsOf({ client_subject: from }));
    assert.equal(await ask(w.sidecar.port, shown, '/robots'), 401, from);
    assert.equal(w.upstream.seen.length, 0);
  }
});

test('the subject is the one name that the configuration asks for; none or several is 401', async () => {
  const several = authority.issue('several', 'URI:spiffe://corp/a,URI:spiffe://corp/b', 'clientAuth');
  const subjects: [string, TestCertificate, number, string | undefined][] = [
    ['uri', robot, 200, 'spiffe://corp/robot'],
    ['dns', robot, 200, 'robot.test'],
    ['common_name', robot, 200, 'robot'],
    ['uri', several, 401, undefined],
    ['dns', several, 401, undefined],
  ];
  for (const [from, shown, status, subject] of subjects) {
    await using w = await world(tlsOf({ client_subject: from, client_issuer: 'https://mesh.test' }));
    assert.equal(await ask(w.sidecar.port, shown, '/robots'), status, from);
    assert.equal(w.upstream.seen[0]?.headers['x-auth-subject'], subject);
    if (status === 200) assert.equal(w.upstream.seen[0]?.headers['x-auth-issuer'], 'https://mesh.test');
  }
});

test('a certificate is revoked by its digest, its subject by name, and open connections with it', async () => {
  await using w = await world();
  const held = await connectTls(w.sidecar.port, optionsFor(robot));
  assert.equal((await askOn(held, get('/robots')))[0]?.status, 200);
  const revoke = (kind: string, id: string) =>
    admin(w.sidecar, 'POST', '/v1/revocations', { kind, id, issuer: 'client_certificate' });
  await revoke('token', `sha256:${digestOf(robot)}`);
  assert.equal((await askOn(held, get('/robots')))[0]?.status, 401);
  held.destroy();
  const second = authority.issue('robot', 'URI:spiffe://corp/robot', 'clientAuth');
  assert.equal(await ask(w.sidecar.port, second, '/robots'), 200);
  await revoke('subject', 'spiffe://corp/robot');
  assert.equal(await ask(w.sidecar.port, second, '/robots'), 401);
  assert.equal(await ask(w.sidecar.port, other, '/robots'), 200);
});

test('limits and records know certificates by issuer and subject', async () => {
  await using w = await world(tlsOf(), {
    limits: { each: { key: 'client', tiers: { free: '1/1h', paid: '100/1h' }, default_tier: 'free' } },
    defaults: { limits: ['each'] },
    clients: { robot: { id: 'spiffe://corp/robot', issuer: 'client_certificate', tier: 'paid' } },
  });
  const twice = async (shown: TestCertificate) => [
    await ask(w.sidecar.port, shown, '/robots'),
    await ask(w.sidecar.port, shown, '/robots'),
  ];
  assert.deepEqual(
    [await twice(robot), await twice(other)],
    [
      [200, 200],
      [200, 429],
    ],
  );
  const key = encodeURIComponent('client_certificate/spiffe://corp/other');
  const { status, body } = await admin(w.sidecar, 'GET', `/v1/limits/each/${key}`);
  assert.deepEqual([status, (body.rates as { remaining: number }[] | undefined)?.[0]?.remaining], [200, 0]);
});

test('RFC 8705: a bound token counts with its certificate and with no other, whatever was cached before', async () => {
  await using w = await world();
  const token = bound(robot);
  const status = (shown: TestCertificate | undefined) => ask(w.sidecar.port, shown, '/tokens', [token]);
  assert.deepEqual(
    [await status(other), await status(robot), await status(other), await status(undefined), await status(robot)],
    [401, 200, 401, 401, 200],
  );
  assert.equal(w.upstream.seen[0]?.headers['x-auth-subject'], 'alice');
  assert.ok(w.sidecar.logged().some(({ reason }) => reason === 'token_certificate_mismatch'));
});

test('attack 113: bound in another way, or in two, a token is refused with every certificate', async () => {
  await using w = await world();
  const own = thumbprint(robot);
  const others: readonly unknown[] = [
    { jkt: own },
    { 'x5t#S256': own, jkt: 'x'.repeat(43) },
    { 'x5t#S256': [own] },
    { 'x5t#S256': `${own}=` },
    { 'x5t#S256': digestOf(robot) },
    { 'X5T#S256': own },
    [own],
    {},
    null,
  ];
  for (const cnf of others) {
    assert.equal(await ask(w.sidecar.port, robot, '/tokens', [bearer({ cnf })]), 401, JSON.stringify(cnf));
  }
  assert.equal(w.upstream.seen.length, 0);
});

test('attack 113: on a plain port a bound token is refused', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url);
  const authorization = bound(robot).slice('Authorization: '.length);
  assert.equal((await fetch(sidecar.proxyUrl, { headers: { authorization } })).status, 401);
  assert.equal(upstream.seen.length, 0);
});

test('attack 117: what a header says about a certificate is never believed, and does not reach the application', async () => {
  await using w = await world(tlsOf(), { proxy: { trusted_proxies: ['10.9.9.9'] } });
  const pem = encodeURIComponent(robot.certificate);
  const der = new X509Certificate(robot.certificate).raw.toString('base64');
  const fields = [
    `X-Forwarded-Client-Cert: Cert="${pem}"`,
    `Client-Cert: :${der}:`,
    `X-SSL-Client-Cert: ${pem}`,
    `Client_Cert: :${der}:`,
  ];
  assert.equal(await ask(w.sidecar.port, undefined, '/robots', fields), 401);
  assert.equal(await ask(w.sidecar.port, undefined, '/tokens', [bound(robot), ...fields]), 401);
  assert.equal(await ask(w.sidecar.port, other, '/tokens', [bound(robot), ...fields]), 401);
  assert.equal(w.upstream.seen.length, 0);
  assert.equal(await ask(w.sidecar.port, undefined, '/open', fields), 200);
  const names = Object.keys(w.upstream.seen[0]?.headers ?? {});
  assert.deepEqual(
    names.filter((name) => /^(?:x-forwarded-client|client.cert)/.test(name)),
    [],
  );
});

test('attack 117: a trusted proxy is not who calls through it, and its certificate binds no token', async () => {
  await using w = await world(tlsOf(), { proxy: { trusted_proxies: ['127.0.0.1'] } });
  assert.equal(await ask(w.sidecar.port, robot, '/robots', ['X-Forwarded-For: 10.0.0.1']), 401);
  assert.equal(await ask(w.sidecar.port, robot, '/tokens', [bound(robot)]), 401);
  assert.equal(await ask(w.sidecar.port, robot, '/tokens', [bearer()]), 200);
});

test('no session is resumed where certificates count', async () => {
  await using w = await world();
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const options = { ...optionsFor(robot), maxVersion };
    const first = await connectTls(w.sidecar.port, options);
    let ticket: Buffer | undefined;
    first.on('session', (session: Buffer) => {
      ticket = session;
    });
    assert.equal((await askOn(first, get('/robots')))[0]?.status, 200);
    const session = ticket ?? first.getSession();
    first.destroy();
    // Without its certificate, whoever has the session is nobody.
    const second = await connectTls(w.sidecar.port, { ...optionsFor(), maxVersion, session });
    assert.equal(second.isSessionReused(), false, maxVersion);
    assert.equal((await askOn(second, get('/robots')))[0]?.status, 401);
    second.destroy();
  }
});

test('an authority that is taken away vouches for nobody any more, on open connections neither', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'doorward-mtls-'));
  const file = join(folder, 'ca.pem');
  writeFileSync(file, authority.certificate);
  try {
    await using w = await world(tlsOf({ client_ca: { file } }), { proxy: { http2: true } });
    const idle = await connectTls(w.sidecar.port, optionsFor(robot));
    assert.equal((await askOn(idle, get('/robots')))[0]?.status, 200);
    await using session = await openHttp2(`https://127.0.0.1:${w.sidecar.port}`, {
      ...optionsFor(robot),
      ALPNProtocols: ['h2'],
    });
    const answer = await askHttp2(session, { ':authority': 'app.test', ':path': '/robots' });
    assert.equal('status' in answer && answer.status, 200);
    const ended = Promise.all([once(idle, 'close'), once(session, 'close')]);
    writeFileSync(file, stranger.certificate);
    await ended;
    await eventually(async () => (await ask(w.sidecar.port, forged, '/robots')) === 200, SOON);
    assert.equal(await ask(w.sidecar.port, robot, '/robots'), 'refused');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('over HTTP/2 the certificate of the connection counts for each of its requests', async () => {
  await using w = await world(tlsOf(), { proxy: { http2: true } });
  await using session = await openHttp2(`https://127.0.0.1:${w.sidecar.port}`, optionsFor(robot));
  const status = async (path: string, more: Record<string, string> = {}) => {
    const answer = await askHttp2(session, { ':authority': 'app.test', ':path': path, ...more });
    return 'status' in answer ? answer.status : answer.reset;
  };
  const authorization = (to: TestCertificate) => ({ authorization: bound(to).slice('Authorization: '.length) });
  assert.deepEqual(
    [
      await status('/robots'),
      await status('/tokens', authorization(robot)),
      await status('/tokens', authorization(other)),
    ],
    [200, 200, 401],
  );
});

test('a leaked bound token can be revoked by an operator who has no certificate', async () => {
  await using w = await world();
  const token = bound(robot);
  assert.equal(await ask(w.sidecar.port, robot, '/tokens', [token]), 200);
  await admin(w.sidecar, 'POST', '/v1/revocations', { token: token.split(' ')[2] });
  assert.equal(await ask(w.sidecar.port, robot, '/tokens', [token]), 401);
});

test('a certificate that expires while its connection is open is refused from then on', () => {
  const clock = new ManualClock();
  const nowMs = clock.nowMs();
  const certificate: ClientCertificate = {
    digest: digestOf(robot),
    thumbprint: thumbprint(robot),
    names: [{ kind: 'URI', name: 'spiffe://corp/robot' }],
    commonName: undefined,
    serialNumber: '01',
    notBeforeMs: nowMs - 1000,
    notAfterMs: nowMs + 1000,
  };
  const { config } = parseText(`${SMALLEST}proxy: ${JSON.stringify({ tls: tlsOf() })}\n`);
  const plan = certificatePlan(config.proxy.tls!, clock);
  const exchange = {
    peer: { trusted: false },
    secure: { client: certificate, memo: undefined },
  } as unknown as Exchange;
  const first = plan(exchange);
  assert.ok(first instanceof VerifiedToken && first === plan(exchange));
  clock.advance(1000);
  assert.equal(plan(exchange), 'certificate_expired');
});
