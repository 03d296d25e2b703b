import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { test } from 'node:test';
import { SidecarError } from '../../src/core/errors.ts';
import { backoffMs } from '../../src/token/backoff.ts';
import { jwksUrl, metadataUrl } from '../../src/token/discovery.ts';
import { documentUrl, FetchFailure } from '../../src/token/fetch-document.ts';
import { openIssuer } from '../../src/token/issuers.ts';
import { RemoteKeySet, type RemoteKeySetOptions } from '../../src/token/remote-key-set.ts';
import type { VerificationKey } from '../../src/token/verification-key.ts';
import { createVerifier } from '../../src/token/verify.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { issuerConfig, type JwksServer, mintKey, mintToken, startJwksServer } from '../support/minting.ts';
import { reasonOf, refuseNetwork } from './verifiers.ts';

const [old, fresh] = [mintKey('ES256', 'old'), mintKey('ES256', 'fresh')];

function open(server: JwksServer, clock: ManualClock, changes: Partial<RemoteKeySetOptions> = {}) {
  const outcomes: string[] = [];
  const removed: string[] = [];
  const set = new RemoteKeySet({
    issuer: server.url,
    url: `${server.url}/jwks`,
    algorithms: new Set(['ES256']),
    refreshMs: 600_000,
    cooldownMs: 30_000,
    staleForMs: 3_600_000,
    timeoutMs: 2000,
    clock,
    random: () => 0.999,
    onRefresh: ({ outcome }) => outcomes.push(outcome),
    ...changes,
  });
  set.onKeysRemoved((ids) => removed.push(...ids));
  return { set, outcomes, removed };
}

/** What a look-up ends in: `sync kid`, `async kid`, or the reason. */
async function look(set: RemoteKeySet, kid: string | undefined): Promise<string> {
  try {
    const found = set.find(kid, 'ES256');
    const name = (keys: readonly VerificationKey[]) => keys.map((key) => key.id).join();
    return found instanceof Promise ? `async ${name(await found)}` : `sync ${name(found)}`;
  } catch (error) {
    assert.ok(error instanceof SidecarError, String(error));
    return error.reason;
  }
}

async function until(holds: () => boolean): Promise<void> {
  for (let turn = 0; turn < 2000 && !holds(); turn += 1) await new Promise((done) => setTimeout(done, 2));
  assert.ok(holds(), 'did not come to hold');
}

test('keys are found through the metadata of the issuer, once, and then without waiting', async () => {
  await using server = await startJwksServer([old.jwk]);
  const { set, outcomes } = open(server, new ManualClock(), { url: undefined });
  await using _ = set;
  assert.deepEqual(set.state(), { ageSeconds: undefined, keys: 0, kids: [], lastOutcome: undefined, ready: false });
  assert.equal(await look(set, 'old'), 'async old');
  assert.equal(await look(set, 'old'), 'sync old');
  assert.deepEqual(server.requests, ['/.well-known/openid-configuration', '/jwks']);
  assert.deepEqual(set.state(), { ageSeconds: 0, keys: 1, kids: ['old'], lastOutcome: 'ok', ready: true });
  assert.deepEqual(outcomes, ['ok']);
});

test('metadata that names another issuer is refused, also for a trailing slash', async () => {
  await using server = await startJwksServer([old.jwk]);
  const { set, outcomes } = open(server, new ManualClock(), { url: undefined, issuer: `${server.url}/` });
  await using _ = set;
  assert.equal(await look(set, 'old'), 'keys_unavailable');
  assert.deepEqual(server.requests, ['/.well-known/openid-configuration']);
  assert.deepEqual(outcomes, ['issuer_mismatch']);
  assert.equal(
    metadataUrl('https://id.example/realms/x').href,
    'https://id.example/realms/x/.well-known/openid-configuration',
  );
  assert.equal(metadataUrl('https://id.example/').href, 'https://id.example/.well-known/openid-configuration');
});

test('L24: a rotated key is found at its first token, without a restart', async () => {
  await using server = await startJwksServer([old.jwk]);
  const clock = new ManualClock();
  const config = issuerConfig({ issuer: server.url, algorithms: ['ES256'] });
  await using issuer = openIssuer('corp', config, { secrets: refuseNetwork, readFile: refuseNetwork, clock });
  await issuer.keys.warm();
  using verifier = createVerifier({ issuers: new Map([['corp', issuer]]), clock });
  const say = (key = old) => reasonOf(verifier.verify(mintToken(key, server.url, clock.nowMs()), ['corp']));
  assert.equal(await say(), 'ok');
  server.keys = [old.jwk, fresh.jwk];
  assert.equal(await say(fresh), 'ok');
  assert.equal(await say(old), 'ok');
  assert.equal(server.fetches(), 2);
});

test('attack 80: 1000 tokens with unknown kids cause one fetch per cooldown, and known kids never wait', async () => {
  await using server = await startJwksServer([old.jwk]);
  const clock = new ManualClock();
  const { set } = open(server, clock);
  await using _ = set;
  await set.warm();
  const flood = Array.from({ length: 1000 }, (_, n) => look(set, `random-${n}`));
  assert.equal(await look(set, 'old'), 'sync old', 'known while the fetch is under way');
  assert.deepEqual(new Set(await Promise.all(flood)), new Set(['token_key_unknown']));
  assert.equal(server.fetches(), 2);
  for (let n = 0; n < 1000; n += 1) assert.equal(await look(set, `later-${n}`), 'token_key_unknown');
  assert.equal(server.fetches(), 2);
  clock.advance(29_999);
  assert.equal(await look(set, 'fresh'), 'token_key_unknown');
  server.keys = [old.jwk, fresh.jwk];
  clock.advance(1);
  assert.equal(await look(set, 'fresh'), 'async fresh');
  assert.equal(server.fetches(), 3);
});

test('attack 62 and 80: unusable kids and tokens that are bad anyway cause no fetch at all', async () => {
  await using server = await startJwksServer([old.jwk]);
  const clock = new ManualClock();
  const config = issuerConfig({ issuer: server.url });
  await using issuer = openIssuer('corp', config, { secrets: refuseNetwork, readFile: refuseNetwork, clock });
  using verifier = createVerifier({ issuers: new Map([['corp', issuer]]), clock });
  const say = (changes: Parameters<typeof mintToken>[3]) =>
    reasonOf(verifier.verify(mintToken(old, server.url, clock.nowMs(), changes ?? {}), ['corp']));
  for (const kid of ['../../dev/null\n', 7, ['old'], 'x'.repeat(10_240)]) {
    assert.equal(await say({ header: { kid } }), 'token_key_unknown');
  }
  assert.equal(await say({ header: { alg: 'none' } }), 'token_algorithm_refused');
  assert.equal(await say({ claims: { exp: 1 } }), 'token_expired');
  assert.equal(await say({ claims: { aud: 'x' } }), 'token_audience_mismatch');
  const elsewhere = verifier.verify(mintToken(old, server.url, clock.nowMs()), ['other']);
  assert.equal(await reasonOf(elsewhere), 'token_issuer_unknown');
  assert.deepEqual(server.requests, []);
});

test('attack 60: jku and x5u are never asked for, whatever the key set says', async () => {
  await using server = await startJwksServer([old.jwk]);
  await using bait = await startJwksServer([fresh.jwk]);
  const clock = new ManualClock();
  await using issuer = openIssuer('corp', issuerConfig({ issuer: server.url }), {
    secrets: refuseNetwork,
    readFile: refuseNetwork,
    clock,
  });
  using verifier = createVerifier({ issuers: new Map([['corp', issuer]]), clock });
  const header = { jku: `${bait.url}/jwks`, x5u: `${bait.url}/cert`, jwk: fresh.jwk, x5c: ['AAAA'] };
  const forged = mintToken(fresh, server.url, clock.nowMs(), { header });
  assert.equal(await reasonOf(verifier.verify(forged, ['corp'])), 'token_key_unknown');
  assert.deepEqual(bait.requests, []);
});

type Answer = (request: IncomingMessage, response: ServerResponse) => void;
const answers: Record<string, [Answer, string]> = {
  'a 500': [(_, response) => void response.writeHead(500).end('x'), 'status'],
  'a 404': [(_, response) => void response.writeHead(404).end(), 'status'],
  'a 204': [(_, response) => void response.writeHead(204).end(), 'status'],
  HTML: [(_, response) => void response.end('<html>sorry</html>'), 'malformed'],
  garbage: [(_, response) => void response.end(Buffer.from([0xff, 0, 1])), 'malformed'],
  nothing: [(_, response) => void response.end(), 'malformed'],
  'an array': [(_, response) => void response.end('[]'), 'malformed'],
  'no keys member': [(_, response) => void response.end('{"key":[]}'), 'malformed'],
  'an empty set': [(_, response) => void response.end('{"keys":[]}'), 'no_keys'],
  'only unfit keys': [(_, response) => void response.end(JSON.stringify({ keys: [mintKey('HS256').jwk] })), 'no_keys'],
  'duplicate members': [
    (_, response) => void response.end(`{"keys":[],"keys":[${JSON.stringify(old.jwk)}]}`),
    'malformed',
  ],
  '101 keys': [(_, response) => void response.end(JSON.stringify({ keys: Array(101).fill(old.jwk) })), 'malformed'],
  '10 MiB': [(_, response) => void response.end(Buffer.alloc(10 * 1024 * 1024, 0x20)), 'too_large'],
  'a cut connection': [(_, response) => void response.socket?.destroy(), 'unreachable'],
  'a cut body': [
    (_, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('{"keys":');
      setImmediate(() => response.socket?.destroy());
    },
    'unreachable',
  ],
  silence: [() => {}, 'timeout'],
  'an endless body': [
    (_, response) => {
      response.write('{');
      const drip = setInterval(() => response.write(' '), 20);
      response.on('close', () => clearInterval(drip));
    },
    'timeout',
  ],
};

for (const [name, [answer, outcome]] of Object.entries(answers)) {
  test(`attack 81: ${name} from the key endpoint never clears good keys, and without any is 503`, async () => {
    await using server = await startJwksServer([old.jwk]);
    const clock = new ManualClock();
    const { set, outcomes, removed } = open(server, clock, { timeoutMs: 150 });
    await using _ = set;
    await set.warm();
    server.answer = answer;
    await set.refresh();
    assert.deepEqual(outcomes, ['ok', outcome]);
    assert.equal(await look(set, 'old'), 'sync old');
    assert.deepEqual([set.state().ready, set.state().lastOutcome, removed], [true, outcome, []]);
    const { set: never } = open(server, clock, { timeoutMs: 150 });
    await using __ = never;
    assert.equal(await look(never, 'old'), 'keys_unavailable');
    assert.equal(never.state().ready, false);
  });
}

test('attack 81: good keys serve for refresh and stale_for, then 503 and the caches are told', async () => {
  await using server = await startJwksServer([old.jwk]);
  const clock = new ManualClock();
  const { set, removed } = open(server, clock);
  await using _ = set;
  await set.warm();
  server.answer = answers['a 500']?.[0];
  clock.advance(600_000 + 3_600_000);
  assert.equal(await look(set, 'old'), 'sync old');
  await until(() => set.state().lastOutcome === 'status');
  clock.advance(60_001);
  assert.equal(await look(set, 'old'), 'keys_unavailable');
  assert.deepEqual(removed, ['old']);
  server.answer = undefined;
  clock.advance(120_001);
  assert.equal(await look(set, 'old'), 'async old', 'back as soon as the endpoint is');
});

test('keys are fetched ahead by the clock of the machine, before any token asks', async () => {
  await using server = await startJwksServer([old.jwk]);
  const { set, removed } = open(server, new ManualClock(), { refreshMs: 25 });
  await using _ = set;
  await set.warm();
  server.keys = [fresh.jwk];
  await until(() => set.state().kids.join() === 'fresh');
  assert.deepEqual(removed, ['old']);
  assert.equal(await look(set, 'fresh'), 'sync fresh');
});

test('keys found old by a token are served and fetched anew behind it', async () => {
  await using server = await startJwksServer([old.jwk]);
  const clock = new ManualClock();
  const { set } = open(server, clock);
  await using _ = set;
  await set.warm();
  clock.advance(600_001);
  assert.equal(await look(set, 'old'), 'sync old');
  await until(() => set.state().ageSeconds === 0);
  assert.equal(server.fetches(), 2);
});

test('an older refresh that ends late does not overwrite a newer one', async () => {
  await using server = await startJwksServer([old.jwk]);
  const { set, outcomes } = open(server, new ManualClock());
  await using _ = set;
  const held: ServerResponse[] = [];
  server.answer = (_, response) => void held.push(response);
  const first = set.refresh();
  await until(() => held.length === 1);
  server.answer = undefined;
  server.keys = [fresh.jwk];
  await set.refresh();
  held[0]?.end(JSON.stringify({ keys: [old.jwk] }));
  await first;
  assert.deepEqual(set.state().kids, ['fresh']);
  server.answer = (_, response) => void held.push(response);
  const late = set.refresh();
  await until(() => held.length === 2);
  server.answer = undefined;
  await set.refresh();
  held[1]?.writeHead(500).end();
  await late;
  assert.deepEqual(outcomes, ['ok', 'ok'], 'an older failure counts as little');
});

test('attack 82: redirects leave neither origin nor scheme, and end after three', async () => {
  await using server = await startJwksServer([old.jwk]);
  await using other = await startJwksServer([fresh.jwk]);
  for (const location of [
    `${other.url}/jwks`,
    `${server.url.replace('127.0.0.1', 'localhost')}/jwks`,
    'http://169.254.169.254/latest/meta-data',
    '//evil.example/jwks',
    'https://evil.example/jwks',
    'file:///etc/passwd',
    'data:application/json,{}',
    `${server.url.replace('http://', 'http://user:pw@')}/jwks`,
    'http://[',
    '',
  ]) {
    server.answer = (_, response) => void response.writeHead(302, location ? { location } : {}).end();
    const { set, outcomes } = open(server, new ManualClock());
    await using _ = set;
    assert.equal(await look(set, 'fresh'), 'keys_unavailable', location);
    assert.deepEqual(outcomes, ['redirect_refused'], location);
  }
  assert.deepEqual(other.requests, []);
  const hops = (count: number) => (request: IncomingMessage, response: ServerResponse) => {
    const at = Number(new URL(request.url ?? '', server.url).searchParams.get('hop'));
    if (at >= count) response.end(JSON.stringify({ keys: [old.jwk] }));
    else response.writeHead(307, { location: `/jwks?hop=${at + 1}` }).end();
  };
  for (const [count, said] of [
    [3, 'async old'],
    [4, 'keys_unavailable'],
  ] as const) {
    server.answer = hops(count);
    const { set } = open(server, new ManualClock());
    await using _ = set;
    assert.equal(await look(set, 'old'), said);
  }
});

test('attack 82: only https, or http to loopback, is ever asked', () => {
  for (const good of ['https://id.example/x', 'http://127.0.0.1:1/x', 'http://localhost/x', 'http://[::1]:8/x']) {
    assert.equal(documentUrl(good).href, good);
  }
  const secure = new URL('https://id.example/');
  for (const [bad, from] of [
    ['http://id.example/x'],
    ['http://169.254.169.254/x'],
    ['http://127.0.0.1.evil.example/x'],
    ['http://localhost.evil.example/x'],
    ['https://user:pw@id.example/x'],
    ['ftp://127.0.0.1/x'],
    ['file:///etc/passwd'],
    ['/jwks'],
    [''],
    [7],
    [undefined],
    ['http://127.0.0.1/x', secure],
  ] as const) {
    assert.throws(
      () => documentUrl(bad, from),
      (error) => error instanceof FetchFailure && error.outcome === 'url_refused',
    );
  }
  const metadata = { issuer: 'https://id.example', jwks_uri: 'http://127.0.0.1/jwks' };
  assert.throws(() => jwksUrl(metadata, 'https://id.example', secure), FetchFailure);
});

test('attack 84: a failing endpoint is asked ever more rarely, with jitter, whoever asks', async () => {
  await using server = await startJwksServer();
  server.answer = answers['a 500']?.[0];
  const clock = new ManualClock();
  const { set } = open(server, clock);
  await using _ = set;
  for (let n = 0; n < 200; n += 1) assert.equal(await look(set, `k${n}`), 'keys_unavailable');
  assert.equal(server.fetches(), 1);
  for (let minute = 0; minute < 600; minute += 1) {
    clock.advance(1000);
    await look(set, 'old');
  }
  assert.ok(server.fetches() >= 10 && server.fetches() <= 18, `${server.fetches()} fetches in ten minutes`);
  assert.deepEqual(
    [1, 2, 3, 7, 100].map((failures) => backoffMs(failures, 600_000, () => 0)),
    [500, 1000, 2000, 30_000, 30_000],
  );
  assert.equal(
    backoffMs(1, 600_000, () => 0.5),
    750,
  );
  assert.equal(
    backoffMs(9, 5000, () => 1),
    5000,
  );
});

test('a kid that comes back with other material counts as removed', async () => {
  await using server = await startJwksServer([old.jwk]);
  const { set, removed } = open(server, new ManualClock());
  await using _ = set;
  await set.warm();
  await set.refresh();
  assert.deepEqual(removed, []);
  server.keys = [mintKey('ES256', 'old').jwk];
  await set.refresh();
  assert.deepEqual(removed, ['old']);
});

test('disposing ends a fetch under way and leaves nothing open', async () => {
  await using server = await startJwksServer();
  server.answer = () => {};
  const { set } = open(server, new ManualClock(), { timeoutMs: 60_000 });
  const waiting = look(set, 'old');
  await until(() => server.requests.length === 1);
  await set[Symbol.asyncDispose]();
  assert.equal(await waiting, 'keys_unavailable');
  assert.equal(await look(set, 'old'), 'keys_unavailable');
  assert.equal(server.requests.length, 1);
});

test('a compressed answer is not unpacked', async () => {
  const { gzipSync } = await import('node:zlib');
  await using server = await startJwksServer();
  let offered: string | undefined;
  server.answer = (request, response) => {
    offered = request.headers['accept-encoding'] as string | undefined;
    response.setHeader('content-encoding', 'gzip');
    response.end(gzipSync(JSON.stringify({ keys: [old.jwk] })));
  };
  const { set, outcomes } = open(server, new ManualClock());
  await using _ = set;
  await set.warm();
  assert.equal(offered, undefined);
  assert.deepEqual(outcomes, ['malformed']);
});

test('an endpoint that is not there is unreachable, and warm says so without throwing', async () => {
  const server = await startJwksServer();
  await server[Symbol.asyncDispose]();
  const { set, outcomes } = open(server, new ManualClock());
  await using _ = set;
  await set.warm();
  assert.deepEqual(outcomes, ['unreachable']);
});

test('waiting for the next refresh does not keep the process alive', async () => {
  await using server = await startJwksServer([old.jwk]);
  const module = new URL('../../src/token/remote-key-set.ts', import.meta.url).href;
  const script = `
    const [url, module] = process.argv.slice(1);
    const { RemoteKeySet } = await import(module);
    const clock = { nowMs: () => 0, monotonicMs: () => 0 };
    const set = new RemoteKeySet({ issuer: url, url: url + '/jwks', algorithms: new Set(['ES256']), refreshMs: 600000,
      cooldownMs: 30000, staleForMs: 0, timeoutMs: 60000, clock });
    await set.warm();
    process.stdout.write(set.state().kids.join());`;
  const flags = ['--input-type=module', '-e', script, server.url, module];
  const child = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'], timeout: 30_000 });
  let said = '';
  child.stdout.on('data', (chunk) => {
    said += chunk;
  });
  const [code] = await once(child, 'close');
  assert.deepEqual([said, code], ['old', 0]);
});
