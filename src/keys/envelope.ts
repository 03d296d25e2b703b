// One sealed field: format byte, id of the data key, nonce, ciphertext, tag (design 6). Table, row, column, tenant, key id
// and format are authenticated with it, so that a field moved, swapped or re-labelled in the database does not open.
import type { KeyObject } from 'node:crypto';
import type { SealedPlace } from '../stores/contracts/sealer.ts';
import { decrypt, encrypt, joined } from './aead.ts';
import { unsealRefused } from './refusals.ts';

/** A data key in memory. */
export interface DataKey {
  /** `dk` and 22 base64url characters: 16 random bytes. */
  readonly id: string;
  readonly key: KeyObject;
}

const FORMAT = 1;
const ID_BYTES = 16;
const HEAD_BYTES = 1 + ID_BYTES;
const ID = /^dk[A-Za-z0-9_-]{22}$/;

/** The first 17 bytes of everything sealed under the data key: what SQL compares to find fields under other keys. */
export function sealedHead(dataKeyId: string): Buffer {
  if (!ID.test(dataKeyId)) throw new TypeError('not the id of a data key');
  return Buffer.concat([Buffer.of(FORMAT), Buffer.from(dataKeyId.slice(2), 'base64url')]);
}

/** Id of the data key that a field was sealed under; undefined when the bytes are no sealed field. */
export function dataKeyIdOf(sealed: Uint8Array): string | undefined {
  if (sealed[0] !== FORMAT || sealed.length < HEAD_BYTES) return undefined;
  return `dk${Buffer.from(sealed.subarray(1, HEAD_BYTES)).toString('base64url')}`;
}

/** Seals one field. */
export function sealField({ id, key }: DataKey, place: SealedPlace, plaintext: Uint8Array): Buffer {
  return Buffer.concat([sealedHead(id), encrypt(key, associated(place, id), plaintext)]);
}

/** Opens one field; throws `sealed_unreadable` when anything differs. */
export function openField({ id, key }: DataKey, place: SealedPlace, sealed: Uint8Array): Buffer {
  const field =
    dataKeyIdOf(sealed) === id ? decrypt(key, associated(place, id), sealed.subarray(HEAD_BYTES)) : undefined;
  if (field === undefined) throw unsealRefused(`${placeText(place)} does not open under data key ${id}`);
  return field;
}

/** `table/row/column` for messages: ids, never values. */
export function placeText({ table, row, column }: SealedPlace): string {
  return `${table}/${[row].flat().join('/')}/${column}`;
}

function associated({ table, row, column, tenant }: SealedPlace, id: string): Buffer {
  const parts = [row].flat();
  const where = [table, column, String(parts.length), ...parts];
  return joined(['doorward sealed field', String(FORMAT), id, ...where, ...(tenant === undefined ? [] : [tenant])]);
}
