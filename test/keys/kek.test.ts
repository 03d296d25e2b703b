import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { type Kek, kekBytes, localKek } from '../../src/keys/kek.ts';
import { passphraseKek } from '../../src/keys/kek-passphrase.ts';

const secret = randomBytes(32);
const refused = {
  kind: 'misconfigured',
  message: 'sealing.kek.env needs exactly 32 bytes in base64, base64url or hex',
};

async function wrapsAndUnwraps(kek: Kek, again: Kek): Promise<void> {
  const wrapped = await kek.wrap(secret, 'dk1');
  assert.deepEqual(await again.unwrap(wrapped, 'dk1'), secret);
  assert.equal(await again.unwrap(wrapped, 'dk2'), undefined);
  assert.ok(!wrapped.includes(secret));
  for (let at = 0; at < wrapped.length; at += at < 4 ? 1 : 7) {
    const flipped = Buffer.from(wrapped);
    // The cost byte in front of a passphrase's salt is left alone: flipping it would only cost time.
    if (at === 0 && kek.id.startsWith('passphrase')) continue;
    if (at > 0 && at < 17 && kek.id.startsWith('passphrase')) continue;
    flipped[at] = (flipped[at] as number) ^ 1;
    assert.equal(await again.unwrap(flipped, 'dk1'), undefined, `bit of byte ${at}`);
  }
}

test('a KEK of 32 bytes is read from hex, base64 and base64url alike', () => {
  for (const encoding of ['hex', 'base64', 'base64url'] as const) {
    assert.deepEqual(kekBytes(`${secret.toString(encoding)}\n`, 'sealing.kek.env'), secret);
  }
});

test('L14: a KEK of any other length is refused, and the message does not repeat it', () => {
  for (const length of [0, 16, 24, 31, 33, 64]) {
    for (const encoding of ['hex', 'base64', 'base64url'] as const) {
      assert.throws(() => kekBytes(randomBytes(length).toString(encoding), 'sealing.kek.env'), refused);
    }
  }
  assert.throws(() => kekBytes('correct horse battery staple corr', 'sealing.kek.env'), refused);
  assert.throws(() => localKek(randomBytes(16)), TypeError);
});

test('a local KEK unwraps what it wrapped, for the same context only, and no flipped bit', async () => {
  await wrapsAndUnwraps(localKek(secret), localKek(secret));
});

test('two local KEKs have different ids, and neither unwraps what the other wrapped', async () => {
  const other = localKek(randomBytes(32));
  assert.notEqual(other.id, localKek(secret).id);
  assert.equal(localKek(secret).id, localKek(secret).id);
  assert.equal(await other.unwrap(await localKek(secret).wrap(secret, 'dk1'), 'dk1'), undefined);
});

test('a passphrase unwraps in another process what it wrapped, and another passphrase does not', async () => {
  const passphrase = 'correct horse battery staple';
  const kek = passphraseKek(passphrase);
  await wrapsAndUnwraps(kek, passphraseKek(passphrase));
  const wrapped = await kek.wrap(secret, 'dk1');
  assert.equal(await passphraseKek('wrong horse battery staple').unwrap(wrapped, 'dk1'), undefined);
});

test('a passphrase goes on with the salt that it found, so that replicas derive once', async () => {
  const first = await passphraseKek('correct horse battery staple').wrap(secret, 'dk1');
  const kek = passphraseKek('correct horse battery staple');
  await kek.unwrap(first, 'dk1');
  const second = await kek.wrap(secret, 'dk2');
  assert.deepEqual(second.subarray(0, 17), first.subarray(0, 17));
  assert.notDeepEqual(second.subarray(17), first.subarray(17));
});

test('a cost from the database that would exhaust memory, or is too cheap, is not derived', async () => {
  const kek = passphraseKek('correct horse battery staple');
  const wrapped = await kek.wrap(secret, 'dk1');
  for (const cost of [1, 16, 21, 255]) {
    const changed = Buffer.from(wrapped);
    changed[0] = cost;
    assert.equal(await kek.unwrap(changed, 'dk1'), undefined);
  }
});

test('a passphrase of fewer than 16 characters is refused', () => {
  assert.throws(() => passphraseKek('too short'), { kind: 'misconfigured' });
});
