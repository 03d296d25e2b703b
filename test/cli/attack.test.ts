// `doorward attack`: finds nothing where nothing is, on configurations of every kind, and every planted hole.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { attacks } from '../../src/cli/attack-list.ts';
import { progressLines } from '../../src/cli/attack-progress.ts';
import type { Outcome } from '../../src/cli/attack-run.ts';
import { testAuthority } from '../support/certificates.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';
import { runHere, scratchFolder } from './processes.ts';

interface Report {
  readonly ok: boolean;
  readonly requests: number;
  readonly judged: number;
  readonly bypasses: number;
  readonly bypass_rate: number;
  readonly outcomes: readonly Outcome[];
}

async function attack(args: readonly string[], config?: object, input = '') {
  using folder = scratchFolder();
  const file = folder.file('sidecar.yaml');
  if (config !== undefined) writeFileSync(file, JSON.stringify(config));
  const ended = await runHere(['attack', '--config', file, '--json', ...args], input);
  const report = (ended.out === '' ? undefined : JSON.parse(ended.out)) as Report;
  const through = report?.outcomes.filter(({ verdict }) => verdict === 'bypass') ?? [];
  return { ...ended, report, through, ids: [...new Set(through.map(({ id }) => id))] };
}

/** A fleet sidecar: what it names outside does not exist, and nothing of it may be asked for. */
const fleet = {
  version: 1,
  name: 'shop',
  upstreams: {
    app: { url: 'http://127.0.0.1:1', health: { path: '/healthz' } },
    other: { url: 'https://other.invalid' },
  },
  issuers: {
    corp: {
      issuer: 'https://id.example.com/',
      audience: ['api'],
      require: { email_verified: true, org: null },
      claims: { roles: ['realm_access', 'roles'], scopes: 'permissions', tenant: 'org_id', client: 'azp' },
    },
    legacy: {
      issuer: 'legacy',
      audience: ['api'],
      algorithms: ['HS256'],
      types: ['absent'],
      keys: { secret: { value: randomBytes(32).toString('hex') } },
    },
    pss: { issuer: 'https://pss.example.com', audience: ['api'], algorithms: ['PS384'], max_lifetime: '1m' },
  },
  redis: { url: { value: 'redis://redis.invalid:6379' } },
  limits: {
    per_ip: { key: 'ip', rate: '1/1h' },
    per_client: { key: 'client', tiers: { free: '1/1h' }, default_tier: 'free' },
  },
  defaults: { issuers: ['corp'], limits: ['per_ip'] },
  routes: {
    public: { match: { prefix: '/public' }, auth: 'none', upstream: 'app' },
    admin: {
      match: { prefix: '/admin' },
      upstream: 'app',
      require: { scopes: ['read', 'write'], roles: { any: ['editor', 'admin'] }, claims: { tenant: ['acme'] } },
      limits: ['per_ip', 'per_client'],
    },
    item: { match: { path: '/items/{id}', methods: ['GET'] }, upstream: 'app', issuers: ['legacy'] },
    cookie: {
      match: { prefix: '/app', hosts: ['*.example.com'] },
      upstream: 'other',
      credentials: [{ cookie: 'session' }],
    },
    header: {
      match: { prefix: '/cf' },
      upstream: 'app',
      issuers: ['pss'],
      credentials: [{ header: 'Cf-Access-Jwt-Assertion' }],
    },
    query: { match: { prefix: '/q' }, upstream: 'app', credentials: [{ query: 'access_token' }] },
    maybe: { match: { prefix: '/maybe' }, upstream: 'app', auth: 'optional' },
    site: { match: { prefix: '/' }, upstream: 'app', auth: 'none' },
  },
};

test('W23: every attack is fired, none gets through a configuration without a hole, and no store or upstream of it is asked', async () => {
  const { code, err, report, through } = await attack([], fleet);
  assert.deepEqual([through, code], [[], 0], err);
  assert.doesNotMatch(err, /no token that it accepts/);
  assert.deepEqual([report.ok, report.bypasses, report.bypass_rate], [true, 0, 0]);
  assert.equal(report.judged, report.requests);
  assert.deepEqual([...new Set(report.outcomes.map(({ id }) => id))].sort(), attacks.map(({ id }) => id).sort());
  for (const name of ['admin', 'item', 'cookie', 'header', 'query', 'maybe'])
    assert.ok(report.outcomes.filter(({ id, target }) => id === 63 && target === name).length > 0, name);
});

test('W23: behind TLS with client certificates too', async () => {
  using authority = testAuthority();
  const { certificate, key } = authority.issue('app', 'DNS:app.example.com', 'serverAuth');
  const tls = {
    certificates: [{ certificate: { value: certificate }, key: { value: key } }],
    client_certificate: 'required',
    client_ca: { value: authority.certificate },
  };
  const routes = { public: fleet.routes.public, item: fleet.routes.item };
  const { code, err, report } = await attack([], { ...fleet, routes, proxy: { tls } });
  assert.equal(code, 0, err);
  assert.ok(report.judged > 100);
});

test('W23: a route that is open by mistake is found once its path is named', async () => {
  const routes = {
    ...fleet.routes,
    admin: { ...fleet.routes.admin, auth: 'none', require: undefined, limits: ['per_ip'] },
  };
  const { code, err, ids, report } = await attack(['--path', '/admin'], { ...fleet, routes });
  assert.equal(code, 1);
  assert.ok(ids.includes(76), String(ids));
  assert.match(err, /got through: bypass rate [\d.]+ %$/);
  assert.ok(report.bypass_rate > 0 && !report.ok);
});

test('W23: a route in shadow mode lets all attacks on tokens through, and is found', async () => {
  const routes = { admin: { ...fleet.routes.admin, mode: 'shadow' } };
  const { code, ids } = await attack([], { ...fleet, routes });
  assert.equal(code, 1);
  for (const id of [57, 63, 68, 76]) assert.ok(ids.includes(id), `${id} of ${ids}`);
});

test('the text names each attack with its verdict and each request that got through', async () => {
  using folder = scratchFolder();
  const routes = { admin: { match: { prefix: '/admin' }, mode: 'shadow' } };
  const { upstreams, issuers, version } = {
    ...fleet,
    issuers: { corp: fleet.issuers.corp },
    upstreams: { app: fleet.upstreams.app },
  };
  writeFileSync(folder.file('sidecar.yaml'), JSON.stringify({ version, upstreams, issuers, routes }));
  const { out, code } = await runHere(['attack', '--config', folder.file('sidecar.yaml')]);
  assert.equal(code, 1);
  assert.match(out, /^ATTACK +VERDICT +REFUSED$/m);
  assert.match(out, /^50 +refused +1\/1 +CONNECT$/m);
  assert.match(out, /^76 +BYPASS +0\/1 +no token at all\n {8}bypass admin: nothing \(200\)$/m);
});

test('a run that has no time left fails, and says how much was not judged', async () => {
  const { code, err, report } = await attack(['--timeout', '1ms'], fleet);
  assert.equal(code, 1);
  assert.match(err, /could not be judged$/);
  assert.equal(report.judged, 0);
});

test('--url: a running sidecar is attacked by its answers, with our own user agent and never faster than said', async () => {
  await using upstream = await recordingUpstream();
  const routes = { public: { match: { prefix: '/public' }, auth: 'none' }, all: { match: { prefix: '/' } } };
  await using sidecar = await startSidecar(upstream.url, { routes, proxy: { bad_tokens: '1000000/1m' } });
  const args = [
    '--url',
    sidecar.proxyUrl,
    '--path',
    '/admin',
    '--open-path',
    '/public',
    '--token-file',
    '-',
    '--rate',
    '200',
  ];
  const beganMs = performance.now();
  const { code, err, report } = await attack(args, undefined, tokenFor());
  assert.equal(code, 0, `${err} ${JSON.stringify(report?.outcomes.filter(({ verdict }) => verdict !== 'refused'))}`);
  assert.ok(performance.now() - beganMs >= (report.requests - 1) * 5);
  assert.ok(report.requests > 60);
  assert.deepEqual(upstream.seen, []);
});

test('W23: --url: under a limit for bad tokens in force the run says that it waits, waits, and judges everything', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, { proxy: { bad_tokens: '10/2s' } });
  const args = ['--url', sidecar.proxyUrl, '--path', '/admin', '--rate', '500'];
  const { code, err, report } = await attack(args);
  assert.equal(code, 0, err);
  assert.deepEqual([...new Set(report.outcomes.map(({ verdict }) => verdict))], ['refused']);
  assert.match(err, /^\/admin: \d+ of \d+, waiting [12] s for a limit$/m);
});

test('progress is said at the first wait for a limit and then every five seconds, with or without one', () => {
  const said: string[] = [];
  let nowMs = 7;
  const tell = progressLines(
    (line) => void said.push(`${nowMs} ${line}`),
    () => nowMs,
  );
  const after = (ms: number, done: number, waitingMs: number) => {
    nowMs += ms;
    tell({ target: '/admin', done, total: 228, waitingMs });
  };
  after(0, 0, 0);
  after(1000, 41, 12_000);
  after(100, 41, 11_900);
  after(4899, 41, 7001);
  after(1, 41, 7000);
  after(4999, 42, 0);
  after(1, 43, 0);
  after(4000, 44, 500);
  assert.deepEqual(said, [
    '1007 /admin: 41 of 228, waiting 12 s for a limit',
    '6007 /admin: 41 of 228, waiting 7 s for a limit',
    '11007 /admin: 43 of 228',
  ]);
});

/** A gate as people write it: decides by the raw path, takes the payload of a token for true, and serves the path as it reads it. */
async function weakGate() {
  const agents = new Set<string>();
  const server = createServer((request, response) => {
    agents.add(request.headers['user-agent'] ?? '');
    const claims = /^Bearer [^.]*\.([^.]+)/.exec(request.headers.authorization ?? '')?.[1];
    let isKnown = request.url?.startsWith('/public') === true;
    try {
      isKnown ||= JSON.parse(Buffer.from(claims ?? '', 'base64url').toString()).sub !== undefined;
    } catch {}
    if (!isKnown) response.writeHead(401, { 'content-type': 'application/problem+json' });
    response.end('{}');
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    agents,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test('W23: --url: a weak gate is found weak: paths that it normalises, tokens that it does not verify', async () => {
  await using gate = await weakGate();
  const args = ['--url', gate.url, '--path', '/admin', '--open-path', '/public', '--rate', '500', '--token-file', '-'];
  const { code, ids } = await attack([...args, '--allow-unclear'], undefined, tokenFor());
  assert.equal(code, 1);
  for (const id of [1, 2, 54, 57, 72]) assert.ok(ids.includes(id), `${id} of ${ids}`);
  assert.ok(!ids.includes(76), 'and what it does refuse is refused');
  assert.ok([...gate.agents].some((agent) => /^doorward-attack\/\d/.test(agent)));
});

test('what the command line lacks or says wrong is said, and a sidecar that is not there is exit code 4', async () => {
  assert.equal((await attack(['--url', 'http://127.0.0.1:1'])).code, 2);
  assert.equal((await attack(['--url', 'ftp://x', '--path', '/a'])).code, 2);
  assert.equal((await attack(['--url', 'http://127.0.0.1:1', '--path', '/a', '--rate', '0'])).code, 2);
  assert.equal((await attack(['--url', 'http://127.0.0.1:1', '--path', '/a'])).code, 4);
  assert.equal((await attack(['--timeout', 'soon'], fleet)).code, 2);
  assert.equal((await attack([], { version: 1, routes: 3 })).code, 3);
  const open = {
    version: 1,
    upstreams: { app: { url: 'http://127.0.0.1:1' } },
    routes: { all: { match: { prefix: '/' }, auth: 'none' } },
  };
  const { code, err } = await attack([], open);
  assert.equal(code, 1);
  assert.match(err, /nothing to attack/);
});
