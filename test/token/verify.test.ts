import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SidecarError } from '../../src/core/errors.ts';
import { openIssuer } from '../../src/token/issuers.ts';
import { createVerifier } from '../../src/token/verify.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { issuerConfig, mintKey, mintToken, startJwksServer } from '../support/minting.ts';
import { es256, ISSUER, reasonOf, refuseNetwork, rs256, setup, verified } from './verifiers.ts';

const peeked = (found: unknown) =>
  found instanceof SidecarError ? found.reason : found === undefined ? 'miss' : 'hit';

test('peek knows a token once it has verified, as one and the same object with empty memos', async () => {
  const at = setup();
  const token = at.mint();
  assert.equal(at.verifier.peek(token), undefined);
  const found = await at.verifier.verify(token, ['corp']);
  assert.equal(at.verifier.peek(token), found);
  assert.equal(at.verifier.peek(Buffer.from(token).toString()), found);
  assert.equal(at.verifier.peek(`${token}x`), undefined);
  assert.deepEqual([found.identityHeaders, found.clearedAt], [undefined, -1]);
  assert.deepEqual(at.verifier.sizes(), { verified: 1, refused: 0 });
});

test('a cached token expires with exp and clock_tolerance, and one from the future is refused when clocks go back', async () => {
  const at = setup();
  const token = at.mint();
  const start = at.clock.nowMs();
  const { notAfterMs } = await at.verifier.verify(token, ['corp']);
  at.clock.setWall(notAfterMs - 1);
  assert.equal(peeked(at.verifier.peek(token)), 'hit');
  at.clock.setWall(start - 60_000);
  assert.equal(peeked(at.verifier.peek(token)), 'hit');
  at.clock.setWall(start - 60_001);
  assert.equal(peeked(at.verifier.peek(token)), 'token_not_yet_valid');
  at.clock.setWall(start);
  assert.equal(peeked(at.verifier.peek(token)), 'hit');
  at.clock.setWall(notAfterMs);
  assert.equal(peeked(at.verifier.peek(token)), 'token_expired');
  assert.deepEqual(at.verifier.sizes(), { verified: 0, refused: 1 });
});

test('a refusal is remembered for ten seconds when it cannot change by itself', async () => {
  const at = setup();
  const input = at.mint().slice(0, -86);
  const cases: Record<string, string> = {
    token_malformed: 'a.b',
    token_signature_invalid: `${input}${'A'.repeat(86)}`,
    token_expired: at.mint({ claims: { exp: 1 } }),
    token_audience_mismatch: at.mint({ claims: { aud: 'x' } }),
    token_algorithm_refused: at.mint({ header: { alg: 'none' } }),
  };
  for (const [reason, token] of Object.entries(cases)) {
    assert.equal(await at.say(token), reason);
    assert.equal(peeked(at.verifier.peek(token)), reason);
    at.clock.advance(9999);
    assert.equal(peeked(at.verifier.peek(token)), reason);
    at.clock.advance(1);
    assert.equal(peeked(at.verifier.peek(token)), 'miss');
  }
});

test('a refusal that may pass is not remembered', async () => {
  const at = setup();
  const now = at.clock.nowMs() / 1000;
  for (const [reason, token] of Object.entries({
    token_key_unknown: at.mint({ header: { kid: 'other' } }),
    token_not_yet_valid: at.mint({ claims: { nbf: now + 100 } }),
    token_issuer_unknown: at.mint({ claims: { iss: 'https://other.example' } }),
  })) {
    assert.equal(await at.say(token), reason);
    assert.equal(peeked(at.verifier.peek(token)), 'miss', reason);
  }
});

test('peek refuses a token above 16 KiB without looking at it', () => {
  const at = setup();
  assert.equal(peeked(at.verifier.peek('a'.repeat(16 * 1024 + 1))), 'token_too_large');
  assert.deepEqual(at.verifier.sizes(), { verified: 0, refused: 0 });
});

test('many callers with one token share one verification, whatever their routes allow', async () => {
  const at = setup();
  const token = at.mint();
  const found = await Promise.all(Array.from({ length: 50 }, () => at.verifier.verify(token, ['x', 'corp'])));
  assert.equal(new Set(found).size, 1);
  const again = at.mint();
  const mixed = await Promise.all([
    reasonOf(at.verifier.verify(again, ['corp'])),
    reasonOf(at.verifier.verify(again, ['x'])),
    reasonOf(at.verifier.verify(again, ['corp'])),
  ]);
  assert.deepEqual(mixed, ['ok', 'token_issuer_unknown', 'ok']);
  const bad = at.mint({}, { ...es256, privateKey: mintKey('ES256').privateKey });
  const refused = await Promise.all(Array.from({ length: 50 }, () => at.say(bad)));
  assert.deepEqual(new Set(refused), new Set(['token_signature_invalid']));
});

test('attack 73: a token whose key has left the key set is not served from the cache', async () => {
  const [a, b] = [mintKey('ES256', 'a'), mintKey('ES256', 'b')];
  await using server = await startJwksServer([a.jwk, b.jwk]);
  const clock = new ManualClock();
  const config = issuerConfig({ issuer: server.url });
  await using issuer = openIssuer('corp', config, { secrets: refuseNetwork, readFile: refuseNetwork, clock });
  using verifier = createVerifier({ issuers: new Map([['corp', issuer]]), clock });
  const [tokenA, tokenB] = [mintToken(a, server.url, clock.nowMs()), mintToken(b, server.url, clock.nowMs())];
  await verifier.verify(tokenA, ['corp']);
  await verifier.verify(tokenB, ['corp']);
  server.keys = [b.jwk];
  await issuer.keys.refresh();
  assert.equal(peeked(verifier.peek(tokenA)), 'miss');
  assert.equal(peeked(verifier.peek(tokenB)), 'hit');
  assert.equal(await reasonOf(verifier.verify(tokenA, ['corp'])), 'token_key_unknown');
});

test('attack 73: a key that leaves while its signature is being checked leaves nothing in the cache', async () => {
  const at = setup();
  const token = at.mint();
  const work = at.verifier.verify(token, ['corp']);
  at.verifier.forgetKey('corp', 'es256');
  await work;
  assert.equal(peeked(at.verifier.peek(token)), 'miss');
});

test('attack 73: clear, forgetIssuer and forgetKey drop what they name, and the issuer is told with every hit', async () => {
  const at = setup();
  const [ec, rsa] = [at.mint(), at.mint({}, rs256)];
  const fill = async () => {
    await at.verifier.verify(ec, ['corp']);
    await at.verifier.verify(rsa, ['corp']);
  };
  const state = () => [peeked(at.verifier.peek(ec)), peeked(at.verifier.peek(rsa))];
  await fill();
  assert.equal(verified(at.verifier.peek(ec)).principal.issuerName, 'corp');
  at.verifier.forgetKey('corp', 'es256');
  assert.deepEqual(state(), ['miss', 'hit']);
  at.verifier.forgetKey('other', 'rs256');
  at.verifier.forgetIssuer('other');
  assert.deepEqual(state(), ['miss', 'hit']);
  at.verifier.forgetIssuer('corp');
  assert.deepEqual(state(), ['miss', 'miss']);
  await fill();
  at.verifier.clear();
  assert.deepEqual(state(), ['miss', 'miss']);
});

test('attack 73: a verifier of a new configuration knows nothing of the old one', async () => {
  const before = setup();
  const token = before.mint();
  assert.equal(await before.say(token), 'ok');
  const after = setup({ audience: ['other'] });
  assert.equal(after.verifier.peek(token), undefined);
  assert.equal(await after.say(token), 'token_audience_mismatch');
});

test('the caches are bounded', async () => {
  const { issuer, clock, mint } = setup();
  const issuers = new Map([['corp', issuer]]);
  const verifier = createVerifier({ issuers, clock, cacheSize: 3, refusalCacheSize: 2 });
  for (let n = 0; n < 6; n += 1) {
    await verifier.verify(mint(), ['corp']);
    await reasonOf(verifier.verify(`bad.${n}`, ['corp']));
  }
  assert.deepEqual(verifier.sizes(), { verified: 3, refused: 2 });
});

test('two issuer blocks with one iss are refused', () => {
  const around = { secrets: refuseNetwork, readFile: refuseNetwork, clock: new ManualClock() };
  const config = issuerConfig({ issuer: ISSUER, keys: { inline: { keys: [es256.jwk] } } });
  const issuers = new Map(['a', 'b'].map((name) => [name, openIssuer(name, config, around)]));
  const made = () => createVerifier({ issuers, clock: around.clock });
  assert.throws(made, (error) => error instanceof SidecarError && error.kind === 'misconfigured');
});
