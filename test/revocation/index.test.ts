import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Principal } from '../../src/core/principal.ts';
import { RevocationIndex } from '../../src/revocation/index.ts';
import { localEntry } from '../../src/revocation/pending.ts';
import { type RevocationDraft, revocationKinds } from '../../src/stores/contracts/revocations.ts';

const NOW = 1_800_000_000_000;
const who: Principal = {
  issuerName: 'corp',
  issuer: 'https://id.example',
  subject: 'id',
  client: 'id',
  scopes: [],
  roles: [],
  tenant: 'id',
  tokenId: 'id',
  session: 'id',
  family: 'id',
  keyId: 'id',
  issuedAtMs: NOW - 1000,
  expiresAtMs: NOW + 60_000,
  claims: {},
};
const entry = (more: Partial<RevocationDraft> = {}) =>
  localEntry({ kind: 'token', issuer: who.issuer, id: 'id', untilMs: NOW + 1000, reason: 'test', ...more }, NOW);
const indexOf = (...entries: ReturnType<typeof entry>[]) => {
  const index = new RevocationIndex();
  index.replace(entries);
  return index;
};

for (const kind of revocationKinds) {
  test(`an entry of kind ${kind} refuses its principal, and nobody of another id or issuer`, () => {
    const index = indexOf(entry({ kind }));
    assert.equal(index.refuses(who, NOW)?.kind, kind);
    assert.equal(index.refuses({ ...who, issuer: 'https://other' }, NOW), undefined);
    const others = { subject: 'x', client: 'x', tenant: 'x', tokenId: 'x', session: 'x', family: 'x', keyId: 'x' };
    assert.equal(index.refuses({ ...who, ...others }, NOW), undefined);
  });
}

test('H10: an entry refuses until its very last millisecond, and not after', () => {
  const index = indexOf(entry());
  assert.ok(index.refuses(who, NOW + 999));
  assert.equal(index.refuses(who, NOW + 1000), undefined);
  assert.ok(indexOf(entry({ kind: 'key', untilMs: 'forever' })).refuses(who, 8.64e15));
});

test('not_before refuses what was issued earlier, lets later logins pass, and refuses tokens without iat', () => {
  const index = indexOf(entry({ kind: 'subject', notBeforeMs: NOW - 1000, untilMs: 'forever' }));
  assert.equal(index.refuses(who, NOW), undefined);
  assert.ok(index.refuses({ ...who, issuedAtMs: NOW - 1001 }, NOW));
  assert.ok(index.refuses({ ...who, issuedAtMs: undefined }, NOW));
});

test('the generation changes with every put, so that a cleared token is looked at again', () => {
  const index = indexOf();
  const before = index.generation;
  assert.equal(index.refuses(who, NOW), undefined);
  index.put(entry());
  assert.notEqual(index.generation, before);
});

test('removing, replacing and sweeping keep the size true', async () => {
  const index = indexOf(entry(), entry({ reason: 'again' }), entry({ kind: 'tenant', untilMs: 'forever' }));
  assert.equal(index.size, 2);
  assert.equal(index.get('token', who.issuer, 'id')?.reason, 'again');
  assert.equal((await index.find(entry().entryId))?.reason, 'again');
  index.sweep(NOW + 5000);
  assert.deepEqual(
    [...index.entries()].map(({ kind }) => kind),
    ['tenant'],
  );
  assert.equal(index.remove(entry({ kind: 'tenant' })), true);
  assert.equal(index.remove(entry({ kind: 'tenant' })), false);
  assert.equal(index.size, 0);
});

test('an index of 60,000 expired entries is swept in bounded steps', () => {
  const index = new RevocationIndex();
  for (let n = 0; n < 60_000; n += 1) index.put({ ...entry(), id: `t${n}` });
  index.sweep(NOW + 1000);
  assert.ok(index.size >= 49_000 && index.size < 60_000);
  for (let step = 0; step < 12 && index.size > 0; step += 1) index.sweep(NOW + 1000);
  assert.equal(index.size, 0);
});
