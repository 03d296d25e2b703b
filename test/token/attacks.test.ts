import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openIssuer } from '../../src/token/issuers.ts';
import { createVerifier } from '../../src/token/verify.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { issuerConfig, type MintKey, mintKey, mintRaw, mintToken, rawSignature, segment } from '../support/minting.ts';
import { es256, ISSUER, reasonOf, refuseNetwork, rs256, setup } from './verifiers.ts';

const seconds = (at: { clock: ManualClock }) => Math.floor(at.clock.nowMs() / 1000);

test('attack 57: alg none in any spelling, and an empty signature, are refused', async () => {
  const at = setup();
  const [, payload] = at.mint().split('.') as [string, string];
  for (const alg of ['none', 'None', 'nOnE', 'NONE', '', 'ES256 ', 'es256', null, 7, ['ES256'], undefined]) {
    const header = segment({ alg, typ: 'at+jwt', kid: 'es256' });
    assert.equal(await at.say(`${header}.${payload}.`), 'token_malformed');
    assert.equal(await at.say(`${header}.${payload}.AAAA`), 'token_algorithm_refused');
  }
  const good = at.mint();
  assert.equal(await at.say(good.slice(0, good.lastIndexOf('.') + 1)), 'token_malformed');
});

test('attack 58: an HS256 token signed with the public key is refused, whatever white space precedes the PEM', async () => {
  const { createSecretKey } = await import('node:crypto');
  const spki = rs256.pem;
  for (const at of [setup(), setup({ keys: { pem: { value: 'x' } } }, spki)]) {
    for (const text of [spki, `\n${spki}`, ` ${spki}`, spki.trim(), JSON.stringify(rs256.jwk), String(rs256.jwk.n)]) {
      const forged: MintKey = { ...rs256, alg: 'HS256', privateKey: createSecretKey(Buffer.from(text)) };
      assert.equal(await at.say(at.mint({}, forged)), 'token_algorithm_refused');
    }
  }
});

test('attack 60: jwk, jku, x5u and x5c in the header neither help nor are fetched', async (t) => {
  const at = setup();
  const evil = mintKey('ES256', 'evil');
  const fetched = t.mock.method(globalThis, 'fetch');
  const baits = { jwk: evil.jwk, jku: 'http://127.0.0.1:9/jwks', x5u: 'http://127.0.0.1:9/cert', x5c: ['AAAA'] };
  for (const [name, bait] of Object.entries(baits)) {
    assert.equal(await at.say(at.mint({ header: { [name]: bait } }, evil)), 'token_key_unknown', name);
    const named = at.mint({ header: { [name]: bait, kid: 'es256' } }, evil);
    assert.equal(await at.say(named), 'token_signature_invalid', name);
    assert.equal(await at.say(at.mint({ header: { [name]: bait } })), 'ok', `${name} is ignored`);
  }
  assert.equal(fetched.mock.callCount(), 0);
});

test('attack 61: crit, b64, zip and enc are refused', async () => {
  const at = setup();
  for (const header of [
    { crit: ['exp'], exp: 1 },
    { crit: [] },
    { crit: 'b64' },
    { crit: null },
    { crit: ['b64'], b64: false },
    { b64: false },
    { b64: true },
    { zip: 'DEF' },
    { enc: 'A256GCM' },
  ]) {
    assert.equal(await at.say(at.mint({ header })), 'token_header_refused', JSON.stringify(header));
  }
});

test('attack 62: a hostile kid is an unknown key', async () => {
  const at = setup();
  for (const kid of [
    '../../dev/null',
    "' OR 1=1 --",
    'a\r\nDEL doorward',
    'x'.repeat(10 * 1024),
    '',
    '\u0000',
    'ключ',
    7,
    null,
    ['es256'],
    { es256: 1 },
    '__proto__',
    'constructor',
  ]) {
    assert.equal(await at.say(at.mint({ header: { kid } })), 'token_key_unknown', JSON.stringify(kid).slice(0, 40));
  }
});

function two() {
  const clock = new ManualClock();
  const [keyA, keyB] = [mintKey('ES256', 'shared-kid'), mintKey('ES256', 'shared-kid')];
  const around = { secrets: refuseNetwork, readFile: refuseNetwork, clock };
  const open = (name: string, iss: string, key: MintKey) =>
    openIssuer(name, issuerConfig({ issuer: iss, keys: { inline: { keys: [key.jwk] } } }), around);
  const issuers = new Map([
    ['a', open('a', 'https://a.example', keyA)],
    ['b', open('b', 'https://b.example', keyB)],
  ]);
  const verifier = createVerifier({ issuers, clock });
  return { clock, keyA, keyB, verifier };
}

test('attack 63: a key of issuer A does not verify a token that names issuer B', async () => {
  const { clock, keyA, verifier } = two();
  const forged = mintToken(keyA, 'https://b.example', clock.nowMs());
  assert.equal(await reasonOf(verifier.verify(forged, ['a', 'b'])), 'token_signature_invalid');
  const good = mintToken(keyA, 'https://a.example', clock.nowMs());
  assert.equal(await reasonOf(verifier.verify(good, ['a', 'b'])), 'ok');
});

test('attack 83: two issuers with one kid never share keys, in either order', async () => {
  const { clock, keyA, keyB, verifier } = two();
  for (const [key, iss, name] of [
    [keyA, 'https://a.example', 'a'],
    [keyB, 'https://b.example', 'b'],
  ] as const) {
    const found = await verifier.verify(mintToken(key, iss, clock.nowMs()), ['a', 'b']);
    assert.equal(found.principal.issuerName, name);
    const crossed = mintToken(key === keyA ? keyB : keyA, iss, clock.nowMs());
    assert.equal(await reasonOf(verifier.verify(crossed, ['a', 'b'])), 'token_signature_invalid');
  }
});

test('attack 64: iss counts only as the exact string', async () => {
  const at = setup();
  for (const iss of [
    [ISSUER],
    [ISSUER, 'https://evil.example'],
    { [ISSUER]: true },
    { toString: ISSUER },
    ISSUER.slice(0, -1),
    `${ISSUER}/`,
    `${ISSUER}x`,
    ISSUER.toUpperCase(),
    ISSUER.replace('id.', 'ID.'),
    ` ${ISSUER}`,
    `${ISSUER}\u0000`,
    'https://id.example.com:443/',
    '',
    null,
    1,
    undefined,
  ]) {
    assert.equal(await at.say(at.mint({ claims: { iss } })), 'token_issuer_unknown', JSON.stringify(iss));
  }
});

test('attack 65: an issuer that the route does not list is refused, on every route anew', async () => {
  const { clock, keyA, verifier } = two();
  const good = mintToken(keyA, 'https://a.example', clock.nowMs());
  assert.equal(await reasonOf(verifier.verify(good, ['b'])), 'token_issuer_unknown');
  assert.equal(await reasonOf(verifier.verify(good, [])), 'token_issuer_unknown');
  assert.equal(verifier.peek(good), undefined);
  assert.equal(await reasonOf(verifier.verify(good, ['a'])), 'ok');
  assert.equal(await reasonOf(verifier.verify(good, ['b'])), 'token_issuer_unknown');
});

test('attack 66: the audience must be there, exactly', async () => {
  const at = setup({ audience: ['api', 'api2'] });
  for (const aud of ['api', 'api2', ['other', 'api2']]) {
    assert.equal(await at.say(at.mint({ claims: { aud } })), 'ok');
  }
  for (const aud of ['', 'ap', 'apix', 'API', 'api ', [], ['other'], ['apix'], undefined]) {
    assert.equal(await at.say(at.mint({ claims: { aud } })), 'token_audience_mismatch', JSON.stringify(aud));
  }
  for (const aud of [{ api: 1 }, 7, null, [['api']], ['api2x', 7], true]) {
    assert.equal(await at.say(at.mint({ claims: { aud } })), 'token_claims_invalid', JSON.stringify(aud));
  }
  const cognito = setup({ audience_claim: 'client_id', audience: ['web'] });
  assert.equal(await cognito.say(cognito.mint({ claims: { aud: undefined } })), 'ok');
  assert.equal(
    await cognito.say(cognito.mint({ claims: { client_id: 'other', aud: 'web' } })),
    'token_audience_mismatch',
  );
});

test('attack 66: ID tokens and refresh tokens are no access tokens', async () => {
  const at = setup();
  for (const claims of [
    { nonce: 'n' },
    { at_hash: 'x' },
    { c_hash: 'x' },
    { nonce: null },
    { typ: 'ID' },
    { typ: 'Refresh' },
    { typ: 'Offline' },
    { token_use: 'id' },
  ]) {
    assert.equal(await at.say(at.mint({ claims })), 'token_type_refused', JSON.stringify(claims));
  }
  for (const claims of [{ typ: 'Bearer' }, { token_use: 'access' }])
    assert.equal(await at.say(at.mint({ claims })), 'ok');
});

test('attack 67: typ must be one that the issuer lists, in any case and with or without application/', async () => {
  const at = setup();
  for (const typ of ['at+jwt', 'AT+JWT', 'application/at+jwt', 'Application/At+Jwt', 'JWT', 'jwt']) {
    assert.equal(await at.say(at.mint({ header: { typ } })), 'ok', typ);
  }
  for (const typ of [
    'ID',
    'logout+jwt',
    'dpop+jwt',
    'rt+jwt',
    'absent',
    '',
    ' jwt',
    'text/jwt',
    null,
    7,
    ['JWT'],
    undefined,
  ]) {
    assert.equal(await at.say(at.mint({ header: { typ } })), 'token_type_refused', JSON.stringify(typ));
  }
  const lax = setup({ types: ['absent'] });
  assert.equal(await lax.say(lax.mint({ header: { typ: undefined } })), 'ok');
  assert.equal(await lax.say(lax.mint({ header: { typ: 'absent' } })), 'token_type_refused');
  assert.equal(await lax.say(lax.mint()), 'token_type_refused');
});

test('attack 68: exp, nbf and iat are numbers within clock_tolerance', async () => {
  const at = setup();
  const now = seconds(at);
  const is = async (expected: string, claims: Record<string, unknown>) =>
    assert.equal(await at.say(at.mint({ claims })), expected, JSON.stringify(claims));
  await is('ok', { exp: now - 59 });
  await is('token_expired', { exp: now - 60 });
  await is('token_expired', { exp: now - 3600 });
  await is('ok', { exp: now + 300.5 });
  for (const exp of ['9999999999', -1, 0, 2 ** 53 + 2, 1e300, null, true, [now + 300], { a: 1 }, undefined]) {
    await is('token_claims_invalid', { exp });
  }
  await is('ok', { nbf: now + 60 });
  await is('token_not_yet_valid', { nbf: now + 61 });
  await is('ok', { iat: now + 60 });
  await is('token_not_yet_valid', { iat: now + 61 });
  for (const bad of ['1', null, -1, {}, 1e300]) {
    await is('token_claims_invalid', { nbf: bad });
    await is('token_claims_invalid', { iat: bad });
  }
  await is('ok', { iat: now, exp: now + 86_400 });
  await is('token_lifetime_exceeded', { iat: now, exp: now + 86_401 });
  await is('ok', { iat: undefined, exp: now + 86_400 });
  await is('token_lifetime_exceeded', { iat: undefined, exp: now + 86_401 });
  await is('token_lifetime_exceeded', { iat: now - 86_400, exp: now + 1 });
  const header = { alg: 'ES256', typ: 'at+jwt', kid: 'es256' };
  const infinite = `{"iss":"${ISSUER}","aud":"api","exp":1e999}`;
  assert.equal(await at.say(mintRaw(es256, header, infinite)), 'token_claims_invalid');
});

test('attack 69: a correctly signed token with duplicate keys or __proto__ is refused', async () => {
  const at = setup();
  const header = { alg: 'ES256', typ: 'at+jwt', kid: 'es256' };
  const body = `"iss":"${ISSUER}","aud":"api","exp":${seconds(at) + 60}`;
  assert.equal(await at.say(mintRaw(es256, header, `{${body},"sub":"a"}`)), 'ok');
  assert.equal(await at.say(mintRaw(es256, header, `{${body},"sub":"a","sub":"b"}`)), 'token_malformed');
  assert.equal(await at.say(mintRaw(es256, header, `{${body},"__proto__":{"sub":"b"}}`)), 'token_malformed');
  const twice = `{"alg":"ES256","alg":"none","typ":"at+jwt","kid":"es256"}`;
  assert.equal(await at.say(mintRaw(es256, twice, `{${body},"sub":"a"}`)), 'token_malformed');
});

test('attack 71: all-zero, DER, truncated and lengthened ECDSA signatures are refused; high-S is one token', async () => {
  const at = setup();
  const token = at.mint({ claims: { jti: undefined } });
  const input = token.slice(0, token.lastIndexOf('.'));
  const signature = rawSignature('ES256', es256.privateKey, input);
  const { sign } = await import('node:crypto');
  const bad = [
    Buffer.alloc(64),
    sign('sha256', Buffer.from(input), es256.privateKey),
    signature.subarray(0, 63),
    signature.subarray(0, 32),
    Buffer.concat([signature, Buffer.alloc(1)]),
    Buffer.concat([signature, signature]),
    Buffer.concat([Buffer.alloc(32), signature.subarray(32)]),
    Buffer.concat([signature.subarray(0, 32), Buffer.alloc(32)]),
  ];
  for (const bytes of bad)
    assert.equal(await at.say(`${input}.${bytes.toString('base64url')}`), 'token_signature_invalid');
  const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const s = n - BigInt(`0x${signature.subarray(32).toString('hex')}`);
  const twin = Buffer.concat([signature.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex')]);
  const first = await at.verifier.verify(`${input}.${signature.toString('base64url')}`, ['corp']);
  const second = await at.verifier.verify(`${input}.${twin.toString('base64url')}`, ['corp']);
  assert.equal(first.principal.tokenId, second.principal.tokenId);
  assert.equal(first.digest, second.digest);
  assert.match(first.principal.tokenId, /^sha256:[\w-]{43}$/);
});

test('attack 72: no signature of any length or algorithm is anything but a refusal', async () => {
  for (const alg of ['ES256', 'RS256', 'EdDSA', 'PS256'] as const) {
    const key = mintKey(alg);
    const at = setup({ algorithms: [alg], keys: { inline: { keys: [key.jwk] } } });
    const token = at.mint({}, key);
    const input = token.slice(0, token.lastIndexOf('.'));
    for (const length of [1, 2, 31, 32, 63, 64, 65, 70, 96, 132, 255, 256, 257, 512]) {
      const signature = Buffer.alloc(length, 0xa5).toString('base64url');
      assert.equal(await at.say(`${input}.${signature}`), 'token_signature_invalid', `${alg} ${length}`);
    }
  }
});

test('attack 113: a token bound to a key is refused as bearer', async () => {
  const at = setup();
  for (const cnf of [{ jkt: 'x' }, { 'x5t#S256': 'x' }, { jwk: {} }, {}, null, 'x']) {
    assert.equal(await at.say(at.mint({ claims: { cnf } })), 'token_claims_invalid', JSON.stringify(cnf));
  }
});

test('H7: a wrong aud, iss or scope type is refused with one public answer', async () => {
  const at = setup();
  for (const claims of [{ aud: 'x' }, { iss: 'x' }, { scope: 7 }, { scope: { read: 1 } }, { scope: ['a b'] }]) {
    assert.match(await at.say(at.mint({ claims })), /^token_/);
  }
});

test('C6: a token of one purpose opens no other: typ and audience keep them apart', async () => {
  const at = setup({ types: ['at+jwt'] });
  assert.equal(await at.say(at.mint({ header: { typ: 'JWT' } })), 'token_type_refused');
  assert.equal(await at.say(at.mint({ claims: { aud: 'refresh' } })), 'token_audience_mismatch');
});
