// Attacks 57 to 79 and 113, end to end: whatever is wrong with a token, the answer is one and the same 401 and the upstream
// sees nothing. Units stand in test/token.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { mintKey, mintRaw, mintToken, segment } from '../support/minting.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { configFor } from '../support/sidecar.ts';
import { admin, ask, assertForwarded, assertRefused, bearer, head, valuesOf, type World, world } from './world.ts';

const issuer = 'https://id.test/';
const key = mintKey('ES256', 'k1');
const rsa = mintKey('RS256', 'k2');
const other = mintKey('ES256', 'k1');
const keysOf = (...keys: (typeof key)[]) => ({ inline: { keys: keys.map(({ jwk }) => jwk) } });
const config = {
  proxy: { header_size: '1MiB' },
  issuers: {
    test: { issuer, audience: ['api'], keys: keysOf(key, rsa) },
    b: { issuer: 'https://b.test', audience: ['api'], keys: keysOf(other) },
  },
  defaults: { issuers: ['test', 'b'] },
};
const good = (claims: object = {}, header: object = {}) =>
  mintToken(key, issuer, Date.now(), { claims: { ...claims }, header: { ...header } });
const nowS = () => Math.floor(Date.now() / 1000);
const [h, p, s] = good().split('.') as [string, string, string];
const hmac = (secret: string) => {
  const input = `${segment({ alg: 'HS256', typ: 'at+jwt', kid: 'k2' })}.${p}`;
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
};
const claimsText = JSON.stringify({ iss: issuer, aud: 'api', sub: 'a', exp: nowS() + 300 });
const rawClaims = (text: string | Buffer) => mintRaw(key, { alg: 'ES256', kid: 'k1', typ: 'at+jwt' }, text);

const bad: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  57: {
    none: `${segment({ alg: 'none', typ: 'at+jwt' })}.${p}.`,
    nOnE: `${segment({ alg: 'nOnE', typ: 'at+jwt' })}.${p}.${s}`,
    'empty signature': `${h}.${p}.`,
  },
  58: { 'HS256 over PEM': hmac(rsa.pem), 'with a newline before': hmac(`\n${rsa.pem}`), trimmed: hmac(rsa.pem.trim()) },
  59: { 'alg of another key': mintRaw(rsa, { alg: 'RS256', kid: 'k1', typ: 'at+jwt' }, claimsText) },
  60: {
    jwk: mintRaw(other, { alg: 'ES256', typ: 'at+jwt', jwk: other.jwk }, claimsText),
    jku: mintRaw(other, { alg: 'ES256', typ: 'at+jwt', kid: 'z', jku: 'http://127.0.0.1:1/jwks' }, claimsText),
    x5c: mintRaw(other, { alg: 'ES256', typ: 'at+jwt', x5c: ['AAAA'], x5u: 'http://127.0.0.1:1/' }, claimsText),
  },
  61: {
    crit: good({}, { crit: ['x'], x: 1 }),
    'crit []': good({}, { crit: [] }),
    b64: good({}, { b64: false, crit: ['b64'] }),
  },
  62: {
    path: good({}, { kid: '../../dev/null' }),
    sql: good({}, { kid: "' OR 1=1; --\r\nFLUSHALL" }),
    long: good({}, { kid: 'k'.repeat(10_240) }),
    number: good({}, { kid: 1 }),
    array: good({}, { kid: ['k1'] }),
  },
  63: { 'key of A, iss B': good({ iss: 'https://b.test' }), 'key of B, iss A': mintToken(other, issuer, Date.now()) },
  64: {
    array: good({ iss: [issuer] }),
    object: good({ iss: { [issuer]: 1 } }),
    'no slash': good({ iss: 'https://id.test' }),
    case: good({ iss: 'https://ID.test/' }),
    longer: good({ iss: `${issuer}x` }),
    missing: good({ iss: undefined }),
  },
  66: {
    'no aud': good({ aud: undefined }),
    other: good({ aud: 'web' }),
    substring: good({ aud: 'api2' }),
    mixed: good({ aud: ['web', 1, 'api'] }),
    'ID token': good({ nonce: 'n' }),
    'refresh token': good({ typ: 'Refresh' }),
    'typ of another kind': good({}, { typ: 'logout+jwt' }),
  },
  68: {
    expired: good({ exp: nowS() - 61 }),
    string: good({ exp: String(nowS() + 60) }),
    negative: good({ exp: -1 }),
    huge: good({ exp: 2 ** 54 }),
    infinite: rawClaims(claimsText.replace(/"exp":\d+/, '"exp":1e999')),
    missing: good({ exp: undefined }),
    'too long a life': good({ exp: nowS() + 90_000 }),
    'iat in future': good({ iat: nowS() + 120 }),
    'nbf in future': good({ nbf: nowS() + 120 }),
  },
  69: {
    'duplicate sub': rawClaims(claimsText.replace('"sub":"a"', '"sub":"a","sub":"b"')),
    'escaped duplicate': rawClaims(claimsText.replace('"sub":"a"', '"sub":"a","s\\u0075b":"b"')),
    '__proto__ member': rawClaims(claimsText.replace('"sub":"a"', '"__proto__":{"sub":"root"}')),
    'invalid UTF-8': rawClaims(Buffer.from(claimsText.replace('"a"', '"\xff"'), 'latin1')),
    BOM: rawClaims(`\ufeff${claimsText}`),
    array: rawClaims('[]'),
    deep: rawClaims(`${'{"a":'.repeat(500)}1${'}'.repeat(500)}`),
  },
  70: {
    JWE: `${segment({ alg: 'dir', enc: 'A128GCM', zip: 'DEF' })}..AAAA.AAAA.AAAA`,
    nested: good({}, { cty: 'JWT', typ: 'JWE' }),
    padding: `${h}.${p}.${s}=`,
    'three dots': `${good()}.x`,
    'two parts': `${h}.${p}`,
    'one part': h,
    'near 1 MiB': `${h}.${'A'.repeat(1_000_000)}.${s}`,
  },
  71: {
    zeros: `${h}.${p}.${Buffer.alloc(64).toString('base64url')}`,
    DER: `${h}.${p}.${Buffer.from(`3044${'02'.repeat(68)}`, 'hex').toString('base64url')}`,
    short: `${h}.${p}.${s.slice(0, 40)}`,
  },
  72: {
    'not base64url': `${h}.${p}.~~~~`,
    'one letter': `${h}.${p}.A`,
    'flipped bit': `${h}.${p}.${s.startsWith('A') ? 'B' : 'A'}${s.slice(1)}`,
  },
  113: { 'cnf as bearer': good({ cnf: { jkt: 'x'.repeat(43) } }) },
};

for (const [id, tokens] of Object.entries(bad)) {
  test(`attack ${id}: one 401 for ${Object.keys(tokens).join(', ')}`, async () => {
    await using at = await world(config);
    const bodies = new Set<string>();
    for (const [name, token] of Object.entries(tokens)) {
      const answer = await assertRefused(at, head('GET /admin', [bearer(token)]), [401, 400], {
        what: `${id} ${name}`,
      });
      if (answer.status === 400) assert.match(name, /padding|not base64url|JWE/);
      else assert.equal(answer.headers['www-authenticate'], 'Bearer realm="test_app", error="invalid_token"', name);
      bodies.add(answer.status === 400 ? '' : answer.body.replace(/"request_id":"[^"]*"/, ''));
    }
    bodies.delete('');
    assert.ok(bodies.size <= 1, 'no answer tells one cause from another');
    await assertForwarded(at, head('GET /admin', [bearer(good())]));
  });
}

test('attack 60: nothing that a token names is ever fetched', async () => {
  await using bait = await recordingUpstream();
  await using at = await world(config);
  const named = { jku: `${bait.url}/jwks`, x5u: `${bait.url}/cert`, jwk: other.jwk, x5c: ['AAAA'] };
  for (const kid of ['k1', 'unknown', undefined]) {
    const token = mintRaw(other, { alg: 'ES256', typ: 'at+jwt', kid, ...named }, claimsText);
    await assertRefused(at, head('GET /admin', [bearer(token)]), 401, { what: String(kid) });
  }
  assert.equal(bait.bytes(), '');
});

test('attack 65: with optional authentication a wrong token is refused, not anonymous', async () => {
  const routes = { admin: { match: { prefix: '/admin' }, auth: 'optional', issuers: ['test'] } };
  await using at = await world({ ...config, routes });
  await assertForwarded(at, head('GET /admin'));
  for (const token of [
    good({ iss: 'https://evil.test' }),
    good({ iss: undefined }),
    'nonsense',
    mintToken(other, 'https://b.test', Date.now()),
  ]) {
    await assertRefused(at, head('GET /admin', [bearer(token)]), 401);
  }
  await assertRefused(at, head('GET /admin', ['Authorization: Bearer']), 400);
});

test('attack 67: an operator token opens nothing on the data port, nor an access token on the admin port', async () => {
  await using at = await world(config);
  const { readFileSync } = await import('node:fs');
  const operator = readFileSync(at.sidecar.adminTokenFile, 'utf8').trim();
  await assertRefused(at, head('GET /admin', [bearer(operator)]), 401);
  const response = await fetch(`${at.sidecar.adminUrl}/v1/config`, { headers: { authorization: `Bearer ${good()}` } });
  assert.equal(response.status, 401);
  await response.text();
});

const cached = async (at: World, path: string, token: string) => {
  await assertForwarded(at, head(`GET ${path}`, [bearer(token)]));
  await assertForwarded(at, head(`GET ${path}`, [bearer(token)]));
};

test('attack 73: a token known as good is refused once revoked, once its key is gone, and where a route wants another issuer', async () => {
  const routes = {
    one: { match: { prefix: '/one' }, issuers: ['test'] },
    two: { match: { prefix: '/two' }, issuers: ['b'] },
    strict: { match: { prefix: '/strict' }, issuers: ['test'], require: { scopes: ['admin'] } },
  };
  await using at = await world({ ...config, routes });
  const token = good({ jti: 'known' });
  await cached(at, '/one', token);
  await assertRefused(at, head('GET /two', [bearer(token)]), 401);
  const lacking = await assertRefused(at, head('GET /strict', [bearer(token)]), 403);
  assert.match(lacking.headers['www-authenticate'] ?? '', /error="insufficient_scope", scope="admin"/);
  const { body } = await admin(at.sidecar, 'POST', '/v1/revocations', {
    kind: 'token',
    issuer: 'test',
    id: 'known',
    reason: 'test',
  });
  await assertRefused(at, head('GET /one', [bearer(token)]), 401);
  await admin(at.sidecar, 'DELETE', `/v1/revocations/${body.id}`);
  await cached(at, '/one', token);
  const issuers = { ...config.issuers, test: { ...config.issuers.test, keys: keysOf(rsa) } };
  at.sidecar.writeConfig(configFor(at.upstream.url, { ...config, routes, issuers }));
  assert.equal((await at.sidecar.reload()).ok, true);
  await assertRefused(at, head('GET /one', [bearer(token)]), 401, { what: 'key gone' });
});

test('attack 74: a token in the query counts only where listed, is removed, and its answer is not stored', async () => {
  const routes = {
    q: { match: { prefix: '/q' }, credentials: ['bearer', { query: 'access_token' }] },
    admin: { match: { prefix: '/admin' } },
  };
  await using at = await world({ ...config, routes });
  const token = good();
  await assertRefused(at, head(`GET /admin?access_token=${token}`), 401);
  for (const [query, rest] of [
    [`?access_token=${token}`, ''],
    [`?a=1&access%5Ftoken=${token}&b=%20`, '?a=1&b=%20'],
  ] as const) {
    const seen = await assertForwarded(at, head(`GET /q${query}`));
    assert.equal(seen.url, `/q${rest}`);
    const answer = await ask(at.port, head(`GET /q${query}`));
    assert.match(answer.headers['cache-control'] ?? '', /private|no-store/);
  }
  await assertRefused(at, head(`GET /q?access_token=${token}&access_token=${token}`), 400);
});

test('attack 75: a token in two places at once is an invalid request', async () => {
  const routes = { q: { match: { prefix: '/q' }, credentials: ['bearer', { cookie: 's' }, { query: 't' }] } };
  await using at = await world({ ...config, routes });
  const token = good();
  for (const [target, ...fields] of [
    [`/q?t=${token}`, bearer(token)],
    ['/q', bearer(token), `Cookie: s=${token}`],
    [`/q?t=${token}`, `Cookie: s=${token}`],
    [`/q?t=${token}`, bearer(token), `Cookie: s=${token}`],
    ['/q', `Cookie: s=${token}; s=x`],
  ] as [string, ...string[]][]) {
    const answer = await assertRefused(at, head(`GET ${target}`, fields), 400);
    assert.match(answer.headers['www-authenticate'] ?? '', /error="invalid_request"/);
  }
});

test('attack 76: no credential is a bare challenge, a bad one says invalid_token, a weak one insufficient_scope', async () => {
  const routes = {
    admin: { match: { prefix: '/admin' } },
    strict: { match: { prefix: '/strict' }, require: { scopes: ['write', 'audit'] } },
  };
  await using at = await world({ ...config, routes });
  const bad = await assertRefused(at, head('GET /admin', [bearer('nonsense')]), 401);
  assert.equal(bad.headers['www-authenticate'], 'Bearer realm="test_app", error="invalid_token"');
  const weak = await assertRefused(at, head('GET /strict', [bearer(good())]), 403);
  assert.equal(
    weak.headers['www-authenticate'],
    'Bearer realm="test_app", error="insufficient_scope", scope="write audit"',
  );
  const missing = await assertRefused(at, head('GET /admin'), 401);
  assert.equal(missing.headers['www-authenticate'], 'Bearer realm="test_app"');
  const basic = await assertRefused(at, head('GET /admin', ['Authorization: Basic YTpi']), 401);
  assert.equal(basic.headers['www-authenticate'], 'Bearer realm="test_app"');
});

test('attack 77: only a real preflight passes without a token, and only where configured', async () => {
  const routes = { api: { match: { prefix: '/api' }, cors: 'pass' }, admin: { match: { prefix: '/admin' } } };
  await using at = await world({ ...config, routes });
  const preflight = ['Origin: https://app.example', 'Access-Control-Request-Method: POST'];
  await assertRefused(at, head('OPTIONS /api'), 401);
  await assertRefused(at, head('OPTIONS /api', [preflight[0] as string]), 401);
  await assertRefused(at, head('OPTIONS /api', [preflight[1] as string]), 401);
  await assertRefused(at, head('GET /api', preflight), 401);
  await assertRefused(at, head('OPTIONS /admin', preflight), 401);
  const seen = await assertForwarded(at, head('OPTIONS /api', [...preflight, 'x-auth-subject: m', bearer(good())]));
  assert.deepEqual(valuesOf(seen, 'x-auth-subject'), [], 'and carries no identity');
});

test('attack 77: preflights count under the limits per address, and use up no quota of a client', async () => {
  await using at = await world({
    ...config,
    limits: { per_ip: { key: 'ip', rate: '3/1m' }, per_client: { key: 'client', rate: '1/1m' } },
    routes: { api: { match: { prefix: '/api' }, cors: 'pass', limits: ['per_ip', 'per_client'] } },
  });
  const preflight = ['Origin: https://app.example', 'Access-Control-Request-Method: POST'];
  await assertForwarded(at, head('OPTIONS /api', preflight));
  await assertForwarded(at, head('OPTIONS /api', preflight));
  await assertForwarded(at, head('GET /api', [bearer(good())]));
  await assertRefused(at, head('OPTIONS /api', preflight), 429);
});

test('attack 78: no User-Agent opens anything', async () => {
  await using at = await world(config);
  for (const agent of ['GoogleHC/1.0', 'kube-probe/1.33', 'ELB-HealthChecker/2.0']) {
    await assertRefused(at, head('GET /admin', [`User-Agent: ${agent}`]), 401);
  }
});

test('attack 79: claims match a rule as whole values, byte for byte', async () => {
  const routes = {
    admin: { match: { prefix: '/admin' }, issuers: ['test'], require: { claims: { email: ['a@corp.example'] } } },
  };
  await using at = await world({ ...config, routes });
  for (const email of [
    'a@corp.example@evil',
    'A@corp.example',
    'a@corp.ex\u0430mple',
    ' a@corp.example',
    'a@corp.example\0',
    ['a@corp.example.evil'],
    { a: 1 },
    true,
  ]) {
    await assertRefused(at, head('GET /admin', [bearer(good({ email }))]), 403, { what: String(email) });
  }
  await assertForwarded(at, head('GET /admin', [bearer(good({ email: 'a@corp.example' }))]));
});
