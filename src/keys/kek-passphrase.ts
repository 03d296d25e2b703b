// A key-encryption key from a passphrase, through scrypt (RFC 7914). Cost and salt stand in front of every wrapped key, so
// that a database is all that is needed beside the passphrase; all replicas go on with the salt that they find.
import { createSecretKey, type KeyObject, randomBytes, scrypt } from 'node:crypto';
import { KEY_BYTES } from './aead.ts';
import { type Kek, unwrapWith, wrapWith } from './kek.ts';
import { kekRefused } from './refusals.ts';

/** log2 of N: 128 MiB and a third of a second for each guess (OWASP asks for 2^17, r=8, p=1). */
const COST = 17;
/** What is read from a database may ask for no more than this, or its writer could exhaust our memory. */
const MOST_COST = 20;
const BLOCK_SIZE = 8;
const SALT_BYTES = 16;
const LEAST_CHARACTERS = 16;
const HEAD_BYTES = 1 + SALT_BYTES;

/** Throws `misconfigured` when the passphrase is shorter than 16 characters. Deriving happens once per salt and process. */
export function passphraseKek(passphrase: string): Kek {
  if ([...passphrase].length < LEAST_CHARACTERS) {
    throw kekRefused(`sealing.kek.passphrase needs at least ${LEAST_CHARACTERS} characters`);
  }
  const keys = new Map<string, Promise<KeyObject>>();
  let current: Buffer | undefined;
  const keyFor = (head: Buffer): Promise<KeyObject> => {
    const known = keys.get(head.toString('hex'));
    if (known !== undefined) return known;
    const made = derive(passphrase, head);
    keys.set(head.toString('hex'), made);
    return made;
  };
  return {
    // Nothing of the passphrase may stand in the database; whether it is the right one shows when it unwraps.
    id: 'passphrase:scrypt',
    async wrap(secret, context) {
      current ??= Buffer.concat([Buffer.of(COST), randomBytes(SALT_BYTES)]);
      return Buffer.concat([current, wrapWith(await keyFor(current), secret, context)]);
    },
    async unwrap(wrapped, context) {
      const head = Buffer.from(wrapped.subarray(0, HEAD_BYTES));
      const cost = head[0] as number;
      if (head.length < HEAD_BYTES || cost < COST || cost > MOST_COST) return undefined;
      const secret = unwrapWith(await keyFor(head), wrapped.subarray(HEAD_BYTES), context);
      if (secret !== undefined) current ??= head;
      return secret;
    },
  };
}

function derive(passphrase: string, head: Buffer): Promise<KeyObject> {
  const { promise, resolve, reject } = Promise.withResolvers<KeyObject>();
  const cost = 2 ** (head[0] as number);
  const limits = { N: cost, r: BLOCK_SIZE, p: 1, maxmem: 256 * cost * BLOCK_SIZE };
  // Two spellings of one passphrase (composed and decomposed) must give one key.
  scrypt(passphrase.normalize('NFKC'), head.subarray(1), KEY_BYTES, limits, (error, derived) =>
    error ? reject(error) : resolve(createSecretKey(derived)),
  );
  return promise;
}
