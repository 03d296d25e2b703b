// The keys that sign checkpoints: made once and kept sealed in PostgreSQL, or named in the configuration. Only keys that the
// key-encryption key vouches for are trusted, so that nobody who can write the tables can bring a key along.
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import { SidecarError } from '../core/errors.ts';
import type { AuditStore, StoredAuditKey } from '../stores/contracts/audit.ts';
import type { SealedColumn, Sealer } from '../stores/contracts/sealer.ts';
import { type CheckpointKey, checkpointKeyFromPem, keyIdOf, makeCheckpointKey } from './checkpoint.ts';

/** Where details and keys lie sealed, for re-sealing. */
export const auditSealedColumns: readonly SealedColumn[] = [
  { table: 'audit_event', idColumns: ['writer', 'number'], column: 'sealed' },
  { table: 'audit_key', idColumns: ['key_id'], column: 'sealed' },
];

/** The key that signs now, and all that ever did. */
export interface CheckpointKeys {
  readonly signing: CheckpointKey;
  readonly trusted: ReadonlyMap<string, KeyObject>;
}

/** What keys are read and made with. */
export interface KeySources {
  readonly store: AuditStore;
  readonly sealer: Sealer;
  readonly clock: Clock;
  /** PKCS8 PEM of `audit.signing_key`. */
  readonly configured: string | undefined;
}

const PRIVATE = 0x01;
const PUBLIC = 0x02;
const placeOf = (keyId: string) => ({ table: 'audit_key', row: keyId, column: 'sealed' });

/** Opens the keys, and makes the first one where there is none. Rejects with `store_unavailable`. */
export async function openCheckpointKeys({ store, sealer, clock, configured }: KeySources): Promise<CheckpointKeys> {
  const named = configured === undefined ? undefined : checkpointKeyFromPem(configured);
  let rows = await store.keys();
  const add = async (key: CheckpointKey, isPrivate: boolean) => {
    const part = isPrivate ? key.privateKey.export({ type: 'pkcs8', format: 'der' }) : spki(key.publicKey);
    const sealed = await sealer.seal(
      placeOf(key.keyId),
      Buffer.concat([Buffer.of(isPrivate ? PRIVATE : PUBLIC), part]),
    );
    const publicKey = spki(key.publicKey).toString('base64url');
    const row = { keyId: key.keyId, publicKey, sealed, createdAtMs: clock.nowMs() };
    rows = await store.addKey(row, { onlyIfNone: isPrivate });
  };
  if (named !== undefined && !rows.some(({ keyId }) => keyId === named.keyId)) await add(named, false);
  let opened = await openAll(rows, sealer);
  if (named === undefined && opened.made === undefined) {
    await add(makeCheckpointKey(), true);
    opened = await openAll(rows, sealer);
  }
  const signing = named ?? opened.made;
  if (signing === undefined) {
    const message =
      'the key that signed the audit checkpoints is named in audit.signing_key no more, or cannot be unsealed';
    throw new SidecarError('misconfigured', 'not_configured', message);
  }
  return { signing, trusted: opened.trusted };
}

async function openAll(rows: readonly StoredAuditKey[], sealer: Sealer) {
  const trusted = new Map<string, KeyObject>();
  let made: CheckpointKey | undefined;
  for (const row of rows) {
    const key = await openOne(row, sealer);
    if (key === undefined) continue;
    trusted.set(row.keyId, key.publicKey);
    if ('privateKey' in key) made = key;
  }
  return { trusted, made };
}

/** Undefined for a key that nobody vouches for; checkpoints that it signed are then reported as such. */
async function openOne(
  row: StoredAuditKey,
  sealer: Sealer,
): Promise<CheckpointKey | { publicKey: KeyObject } | undefined> {
  let opened: Buffer;
  try {
    opened = await sealer.unseal(placeOf(row.keyId), row.sealed);
  } catch (error) {
    if (error instanceof SidecarError && error.kind === 'store_unavailable') throw error;
    return undefined;
  }
  const part = opened.subarray(1);
  if (opened[0] === PUBLIC) {
    const publicKey = createPublicKey({ key: part, type: 'spki', format: 'der' });
    return keyIdOf(publicKey) === row.keyId ? { publicKey } : undefined;
  }
  const privateKey = createPrivateKey({ key: part, type: 'pkcs8', format: 'der' });
  const publicKey = createPublicKey(privateKey);
  return { privateKey, publicKey, keyId: keyIdOf(publicKey) };
}

const spki = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' });
