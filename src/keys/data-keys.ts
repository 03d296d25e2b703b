// Opens the data keys of a database under the configured key-encryption key (KEK): makes the first one, moves all of them
// from the previous KEK to a new one, and refuses a wrong KEK before anything is touched (design 6).
import { createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import { storeUnavailable } from '../core/errors.ts';
import { dataKeyId } from '../core/ids.ts';
import type { DataKeyRecord, DataKeyStore, KekCheck, NewDataKey } from '../stores/contracts/data-keys.ts';
import { KEY_BYTES } from './aead.ts';
import type { Kek } from './kek.ts';
import { kekRefused } from './refusals.ts';

const CHECK_TEXT = Buffer.from('doorward: this opens under the right KEK');
const CHECK_CONTEXT = 'check';
const MOST_ATTEMPTS = 5;

/** What the data keys are opened with. */
export interface DataKeyOptions {
  readonly kek: Kek;
  /** The KEK in force before, while it is being replaced. */
  readonly previousKek?: Kek | undefined;
  readonly store: DataKeyStore;
  readonly clock: Clock;
}

/**
 * Makes sure that every data key is wrapped by `kek`. Rejects with `misconfigured` when neither KEK is the right one, having
 * written nothing, and with `store_unavailable` when the store (or a remote KEK) is away.
 */
export async function settleKek(options: DataKeyOptions): Promise<void> {
  const { kek, previousKek, store } = options;
  for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt += 1) {
    const { check, keys } = await store.read();
    if (check === undefined) {
      if (await store.begin(await newCheck(kek), await newDataKey(kek, options.clock))) return;
    } else if (await opensCheck(kek, check)) {
      return;
    } else if (previousKek !== undefined && (await opensCheck(previousKek, check))) {
      const rewrapped = await Promise.all(keys.map((record) => rewrap(record, previousKek, kek)));
      if (await store.rewrap(check, await newCheck(kek), rewrapped)) return;
    } else {
      throw kekRefused(wrongKek(check, options));
    }
  }
  throw storeUnavailable('replicas keep changing the key-encryption key; look at their sealing.kek');
}

/**
 * Looks whether the KEK, or the previous one, is the one that this database is sealed under; one that was never sealed is
 * anybody's. Writes nothing. Rejects with `misconfigured` when it is not; a remote KEK that is away rejects as in
 * {@link settleKek}.
 */
export async function requireKek(options: Omit<DataKeyOptions, 'clock'>): Promise<void> {
  const { kek, previousKek, store } = options;
  const { check } = await store.read();
  if (check === undefined || (await opensCheck(kek, check))) return;
  if (previousKek !== undefined && (await opensCheck(previousKek, check))) return;
  throw kekRefused(wrongKek(check, options));
}

function wrongKek({ kekId }: KekCheck, { kek, previousKek }: Omit<DataKeyOptions, 'clock'>): string {
  const tried = previousKek === undefined ? 'sealing.kek is not' : 'neither sealing.kek nor sealing.previous_kek is';
  return `${tried} the key that sealed this database (it was ${kekId}, sealing.kek is ${kek.id}); nothing was changed`;
}

async function newCheck(kek: Kek): Promise<KekCheck> {
  return { kekId: kek.id, wrapped: await kek.wrap(CHECK_TEXT, CHECK_CONTEXT) };
}

async function opensCheck(kek: Kek, { wrapped }: KekCheck): Promise<boolean> {
  return (await kek.unwrap(wrapped, CHECK_CONTEXT))?.equals(CHECK_TEXT) ?? false;
}

async function rewrap(record: DataKeyRecord, from: Kek, to: Kek) {
  const secret = await from.unwrap(record.wrapped, record.dataKeyId);
  if (secret === undefined) throw kekRefused(`data key ${record.dataKeyId} does not unwrap; nothing was changed`);
  return { dataKeyId: record.dataKeyId, wrapped: await to.wrap(secret, record.dataKeyId) };
}

/** A fresh data key, wrapped. */
export async function newDataKey(kek: Kek, clock: Clock): Promise<NewDataKey> {
  const id = dataKeyId();
  const wrapped = await kek.wrap(randomBytes(KEY_BYTES), id);
  return { dataKeyId: id, kekId: kek.id, wrapped, createdAtMs: clock.nowMs() };
}

/** The data key itself; throws `misconfigured` when the KEK does not unwrap it. */
export async function unwrapDataKey(kek: Kek, { dataKeyId: id, wrapped, kekId }: DataKeyRecord): Promise<KeyObject> {
  const secret = await kek.unwrap(wrapped, id);
  if (secret?.length !== KEY_BYTES) throw kekRefused(`data key ${id} was wrapped by ${kekId} and does not unwrap`);
  return createSecretKey(secret);
}
