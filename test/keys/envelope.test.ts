import assert from 'node:assert/strict';
import { createSecretKey, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { dataKeyId } from '../../src/core/ids.ts';
import { type DataKey, dataKeyIdOf, openField, sealedHead, sealField } from '../../src/keys/envelope.ts';

const newKey = (): DataKey => ({ id: dataKeyId(), key: createSecretKey(randomBytes(32)) });
const key = newKey();
const place = { table: 'credentials', row: 'u1', column: 'public_key' };
const field = Buffer.from('the quick brown fox');
const unreadable = { kind: 'internal', reason: 'sealed_unreadable' };

test('L14: a sealed field opens in its own place, and what stands in the database is not the field', () => {
  const sealed = sealField(key, place, field);
  assert.deepEqual(openField(key, place, sealed), field);
  assert.ok(!sealed.includes(field));
  assert.equal(sealed.length, 1 + 16 + 12 + field.length + 16);
});

test('L14: every field has a nonce of its own, so equal fields look different', () => {
  const nonces = new Set<string>();
  for (let n = 0; n < 1000; n += 1) nonces.add(sealField(key, place, field).subarray(17, 29).toString('hex'));
  assert.equal(nonces.size, 1000);
});

test('L14: no flipped bit opens', () => {
  const sealed = sealField(key, place, field);
  for (let bit = 0; bit < sealed.length * 8; bit += 1) {
    const flipped = Buffer.from(sealed);
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
    assert.throws(() => openField(key, place, flipped), unreadable);
  }
});

test('no shortened field opens', () => {
  const sealed = sealField(key, place, field);
  for (let length = 0; length < sealed.length; length += 1) {
    assert.throws(() => openField(key, place, sealed.subarray(0, length)), unreadable);
  }
});

test('L15: the key id stands with every field', () => {
  const sealed = sealField(key, place, field);
  assert.equal(dataKeyIdOf(sealed), key.id);
  assert.deepEqual(sealed.subarray(0, 17), sealedHead(key.id));
  assert.equal(dataKeyIdOf(Buffer.from('no sealed field at all')), undefined);
});

test('a field opens only in the table, row, column and tenant that it was sealed for', () => {
  const text = fc.string({ maxLength: 6 });
  const places = fc.record({
    table: text,
    row: fc.oneof(text, fc.array(text, { minLength: 1, maxLength: 3 })),
    column: text,
    tenant: fc.option(text, { nil: undefined }),
  });
  const same = (a: { row: string | string[] }) => JSON.stringify({ ...a, row: [a.row].flat() });
  fc.assert(
    fc.property(places, places, (a, b) => {
      const sealed = sealField(key, a, field);
      if (same(a) === same(b)) assert.deepEqual(openField(key, b, sealed), field);
      else assert.throws(() => openField(key, b, sealed), unreadable);
    }),
  );
});

test('a field does not open under another key, whatever id that key is given', () => {
  const sealed = sealField(key, place, field);
  assert.throws(() => openField(newKey(), place, sealed), unreadable);
  assert.throws(() => openField({ ...newKey(), id: key.id }, place, sealed), unreadable);
});

test('C15: the refusal names table, row, column and key, and not the value', () => {
  const sealed = sealField(key, place, field);
  assert.throws(() => openField(key, { ...place, row: 'u2' }, sealed), {
    ...unreadable,
    message: `credentials/u2/public_key does not open under data key ${key.id}`,
  });
});

test('an empty field and a large one go through', () => {
  for (const bytes of [Buffer.alloc(0), randomBytes(1024 * 1024)]) {
    assert.deepEqual(openField(key, place, sealField(key, place, bytes)), bytes);
  }
});
