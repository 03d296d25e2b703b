import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { calculateJwkThumbprint, type JWK } from 'jose';
import { SidecarError } from '../../src/core/errors.ts';
import { openIssuer } from '../../src/token/issuers.ts';
import { readKeySet } from '../../src/token/key-set.ts';
import { hasRocaFingerprint } from '../../src/token/roca.ts';
import { jwkThumbprint, keyFromJwk, keyFromSecret } from '../../src/token/verification-key.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { issuerConfig, mintKey } from '../support/minting.ts';
import { es256, ISSUER, refuseNetwork, rs256, setup } from './verifiers.ts';

const all = new Set(['ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'EdDSA']);
const why = (jwk: unknown, allowed = all) => {
  const key = keyFromJwk(jwk, allowed);
  return 'why' in key ? key.why : 'ok';
};
const without = (jwk: Readonly<Record<string, unknown>>, ...names: string[]) =>
  Object.fromEntries(Object.entries(jwk).filter(([name]) => !names.includes(name)));

test('thumbprints are those of RFC 7638 and of jose', async () => {
  for (const alg of ['ES256', 'ES512', 'EdDSA', 'RS256']) {
    const { jwk } = mintKey(alg);
    assert.equal(jwkThumbprint(jwk), await calculateJwkThumbprint(jwk as JWK));
  }
});

test('every algorithm verifies with its own key, inline and as PEM', async () => {
  for (const alg of all) {
    const key = mintKey(alg);
    const inline = setup({ algorithms: [alg as 'ES256'], keys: { inline: { keys: [key.jwk] } } });
    assert.equal(await inline.say(inline.mint({}, key)), 'ok', alg);
    const pem = setup({ algorithms: [alg as 'ES256'], keys: { pem: { value: 'x' } } }, key.pem);
    assert.equal(await pem.say(pem.mint({}, key)), 'ok', `${alg} pem`);
    assert.equal(await pem.say(pem.mint({}, mintKey(alg))), 'token_signature_invalid', `${alg} other pem`);
  }
});

test('attack 81: a huge number in a key is left out before anything reads it', () => {
  const { jwk } = mintKey('RS256');
  const number = (bytes: number) => Buffer.alloc(bytes, 0xff).toString('base64url');
  // Node reads an exponent in quadratic time: of 48 KB in a third of a second, of 200 KB in 25, with everything else at a stand.
  assert.equal(why({ ...jwk, e: number(48_000) }), 'e is too long');
  assert.equal(why({ ...jwk, n: number(48_000) }), 'n is too long');
  assert.equal(why({ ...mintKey('ES256').jwk, x: number(48_000) }), 'x is too long');
  assert.equal(why({ ...jwk, e: number(3000) }), 'RSA exponent is not odd, at least 65537 and below 2^64');
  assert.equal(why({ ...jwk, e: number(8) }), 'ok');
});

test('shared secrets verify HS256, HS384 and HS512 when they are long enough', async () => {
  const secret = 's'.repeat(64);
  for (const alg of ['HS256', 'HS384', 'HS512'] as const) {
    const at = setup({ algorithms: [alg], keys: { secret: { value: 'x' } } }, secret);
    const key = { ...mintKey(alg), privateKey: keyFromSecret(secret, new Set([alg])).key };
    assert.equal(await at.say(at.mint({}, key)), 'ok', alg);
    assert.equal(await at.say(at.mint({}, mintKey(alg))), 'token_signature_invalid', alg);
  }
  const bytes = { HS256: 31, HS384: 47, HS512: 63 } as const;
  for (const alg of ['HS256', 'HS384', 'HS512'] as const) {
    const short = () => setup({ algorithms: [alg], keys: { secret: { value: 'x' } } }, 's'.repeat(bytes[alg]));
    assert.throws(short, (error) => error instanceof SidecarError && error.kind === 'misconfigured');
  }
});

test('attack 58: HS256 beside public keys, and a PEM key as a shared secret, are refused at load', () => {
  const refused = (open: () => unknown) =>
    assert.throws(open, (error) => error instanceof SidecarError && error.kind === 'misconfigured');
  refused(() => setup({ algorithms: ['RS256', 'HS256'] }));
  refused(() => setup({ algorithms: ['HS256'], keys: { discover: true } }));
  refused(() => setup({ algorithms: ['HS256', 'RS256'], keys: { secret: { value: 'x' } } }, 's'.repeat(64)));
  refused(() => setup({ keys: { secret: { value: 'x' } } }, rs256.pem));
  refused(() => setup({ keys: { secret: { value: 'x' } } }, `\n ${rs256.pem}`));
  refused(() =>
    setup({ keys: { pem: { value: 'x' } } }, rs256.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string),
  );
  refused(() => setup({ keys: { pem: { value: 'x' } } }, 'nonsense'));
});

test('attack 59: use, key_ops, alg and curve decide what a key may verify', () => {
  const ec = without(es256.jwk, 'use', 'alg');
  const rsa = without(rs256.jwk, 'use', 'alg');
  assert.equal(why(ec), 'ok');
  assert.notEqual(why({ ...ec, use: 'enc' }), 'ok');
  assert.notEqual(why({ ...ec, use: ['sig'] }), 'ok');
  assert.notEqual(why({ ...ec, key_ops: ['sign'] }), 'ok');
  assert.notEqual(why({ ...ec, key_ops: 'verify' }), 'ok');
  assert.equal(why({ ...ec, key_ops: ['verify'] }), 'ok');
  assert.notEqual(why({ ...ec, alg: 'ES384' }), 'ok');
  assert.notEqual(why({ ...ec, alg: 'ECDH-ES' }), 'ok');
  assert.notEqual(why({ ...ec, crv: 'P-384' }), 'ok');
  assert.notEqual(why({ ...ec, kty: 'OKP' }), 'ok');
  assert.notEqual(why({ ...rsa, alg: 'RSA-OAEP' }), 'ok');
  assert.notEqual(why(ec, new Set(['RS256'])), 'ok');
  const free = keyFromJwk(rsa, new Set(['RS256', 'PS512', 'ES256']));
  assert.deepEqual('why' in free ? [] : free.algorithms, ['RS256', 'PS512']);
  const bound = keyFromJwk({ ...rsa, alg: 'PS512' }, new Set(['RS256', 'PS512']));
  assert.deepEqual('why' in bound ? [] : bound.algorithms, ['PS512']);
});

test('attack 59: a key with alg RS256 verifies no PS256 token and the other way round', async () => {
  for (const [own, other] of [
    ['RS256', 'PS256'],
    ['PS256', 'RS256'],
  ] as const) {
    const key = mintKey(own);
    const at = setup({ algorithms: ['RS256', 'PS256'], keys: { inline: { keys: [key.jwk] } } });
    assert.equal(await at.say(at.mint({}, key)), 'ok');
    assert.equal(await at.say(at.mint({}, { ...key, alg: other })), 'token_key_unknown');
    const free = setup({ algorithms: ['RS256', 'PS256'], keys: { inline: { keys: [without(key.jwk, 'alg')] } } });
    assert.equal(await free.say(free.mint({}, key)), 'ok');
    assert.equal(await free.say(free.mint({}, { ...key, alg: other })), 'ok');
  }
});

test('attack 71: weak, degenerate and malformed keys are left out', () => {
  const small = createPublicKey(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey).export({
    format: 'jwk',
  });
  assert.match(why(small), /1024 bits/);
  for (const e of ['AQ', 'Aw', 'AQAA', 'EQ', '', 'AQAB=', 5])
    assert.notEqual(why({ ...rs256.jwk, e }), 'ok', String(e));
  assert.notEqual(why({ ...es256.jwk, x: es256.jwk.y }), 'ok', 'a point off the curve');
  assert.notEqual(why({ ...es256.jwk, x: 'AA' }), 'ok');
  assert.notEqual(why({ ...es256.jwk, x: `${es256.jwk.x}=` }), 'ok');
  assert.notEqual(why(mintKey('HS256').jwk), 'ok', 'oct');
  assert.notEqual(why({ kty: '__proto__' }), 'ok');
  assert.notEqual(why({ kty: 'constructor' }), 'ok');
  for (const kid of [7, '', 'x'.repeat(257), 'a\nb', null, ['a']]) assert.notEqual(why({ ...es256.jwk, kid }), 'ok');
  for (const nothing of [null, 'x', 1, [], {}, undefined]) assert.notEqual(why(nothing), 'ok');
});

test('a modulus made of powers of 65537 shows the ROCA fingerprint, honest ones do not', () => {
  const product = [3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37].reduce((a, b) => a * BigInt(b), 1n);
  assert.equal(hasRocaFingerprint(65_537n ** 9n), true);
  assert.equal(hasRocaFingerprint(65_537n ** 3n + product), false);
  for (let round = 0; round < 3; round += 1) {
    const { n } = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ format: 'jwk' });
    assert.equal(hasRocaFingerprint(BigInt(`0x${Buffer.from(String(n), 'base64url').toString('hex')}`)), false);
  }
});

test('a published key with the ROCA fingerprint is left out', () => {
  const hex = (65_537n ** 128n).toString(16);
  const n = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex').toString('base64url');
  assert.match(why({ kty: 'RSA', n, e: 'AQAB' }), /CVE-2017-15361/);
});

test('private members of a published key are dropped', () => {
  const jwk = { ...es256.privateKey.export({ format: 'jwk' }), kid: 'leaked' };
  const key = keyFromJwk(jwk, all);
  assert.ok(!('why' in key));
  assert.equal(key.key.type, 'public');
  assert.equal(key.id, 'leaked');
});

test('a set of more than 100 keys is refused, and equal keys count once', () => {
  const many = Array.from({ length: 101 }, () => es256.jwk);
  assert.equal(readKeySet({ keys: many }, all), undefined);
  assert.equal(readKeySet({ keys: many.slice(1) }, all)?.keys.length, 1);
  assert.equal(readKeySet({ keys: {} }, all), undefined);
  assert.equal(readKeySet(undefined, all), undefined);
});

test('two keys under one kid are told apart by algorithm, and tried in turn when they share it', async () => {
  const [a, b] = [mintKey('ES256', 'same'), mintKey('ES256', 'same')];
  const rsa = mintKey('RS256', 'same');
  const at = setup({ keys: { inline: { keys: [a.jwk, rsa.jwk, b.jwk] } } });
  for (const key of [a, b, rsa]) assert.equal(await at.say(at.mint({}, key)), 'ok');
  assert.equal(await at.say(at.mint({}, mintKey('ES256', 'same'))), 'token_signature_invalid');
});

test('a token without kid is accepted only when exactly one key fits its algorithm', async () => {
  const one = setup();
  assert.equal(await one.say(one.mint({ header: { kid: undefined } })), 'ok');
  const two = setup({ keys: { inline: { keys: [es256.jwk, mintKey('ES256', 'second').jwk] } } });
  assert.equal(await two.say(two.mint({ header: { kid: undefined } })), 'token_key_unknown');
});

test('a certificate serves as a PEM key, whatever kid the token names', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'doorward-cert-'));
  const [keyFile, certFile] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', keyFile, '-out', certFile];
  execFileSync('openssl', [...request, '-subj', '/CN=id', '-days', '1'], { stdio: 'ignore' });
  const { createPrivateKey } = await import('node:crypto');
  const key = mintKey('RS256', 'named-elsewhere', createPrivateKey(readFileSync(keyFile)));
  const at = setup({ keys: { pem: { file: certFile } } }, readFileSync(certFile, 'utf8'));
  rmSync(dir, { recursive: true });
  assert.equal(await at.say(at.mint({}, key)), 'ok');
});

test('a JWKS file is read again on refresh; a bad one keeps the good keys; what left is told', async () => {
  const second = mintKey('ES256', 'second');
  let text = JSON.stringify({ keys: [es256.jwk] });
  const outcomes: string[] = [];
  const issuer = openIssuer('corp', issuerConfig({ issuer: ISSUER, keys: { file: '/keys.json' } }), {
    secrets: refuseNetwork,
    readFile: () => text,
    clock: new ManualClock(),
    onRefresh: ({ issuer: name, outcome }) => outcomes.push(`${name} ${outcome}`),
  });
  const removed: string[] = [];
  issuer.keys.onKeysRemoved((ids) => removed.push(...ids));
  for (const bad of ['', '{"keys":[]}', '{"keys":[],"keys":[]}', '<html>']) {
    text = bad;
    await issuer.keys.refresh();
    assert.deepEqual(issuer.keys.state().kids, ['es256']);
  }
  text = JSON.stringify({ keys: [second.jwk] });
  await issuer.keys.refresh();
  assert.deepEqual(issuer.keys.state().kids, ['second']);
  assert.deepEqual(removed, ['es256']);
  assert.deepEqual(outcomes, [...Array(4).fill('corp malformed'), 'corp ok']);
});
