// Signed checkpoints: what the ends of all chains were at a moment, and what retention has cut off. A statement is JSON; its
// very bytes are stored and signed (Ed25519), and each names the digest of the one before.
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hash,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { SidecarError } from '../core/errors.ts';
import type { AuditHead, StoredCheckpoint } from '../stores/contracts/audit.ts';

/** What a checkpoint says. */
export interface CheckpointStatement {
  readonly number: number;
  readonly atMs: number;
  /** {@link checkpointDigest} of the one before; undefined for the first. */
  readonly previous: string | undefined;
  /** Checkpoints below may be gone; the digest that the first kept one names as its previous is signed with it. */
  readonly keptFrom: number;
  readonly heads: readonly AuditHead[];
  /** Everything up to and with these was removed. A chain that was cut at its end is named here once and then forgotten. */
  readonly cuts: readonly AuditHead[];
}

/** Signs checkpoints. */
export interface CheckpointKey {
  readonly keyId: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

const CONTEXT = 'doorward audit checkpoint 1\n';
const headOut = ({ writer, number, hash }: AuditHead) => [writer, number, hash];

/** Signs a statement. */
export function signCheckpoint(statement: CheckpointStatement, key: CheckpointKey): StoredCheckpoint {
  const { number, atMs, previous, keptFrom, heads, cuts } = statement;
  const text = JSON.stringify({
    number,
    at: new Date(atMs).toISOString(),
    previous: previous ?? null,
    kept_from: keptFrom,
    heads: heads.map(headOut),
    cuts: cuts.map(headOut),
  });
  const signature = sign(null, Buffer.from(CONTEXT + text), key.privateKey).toString('base64url');
  return { number, atMs, keyId: key.keyId, statement: text, signature };
}

/** The statement of a checkpoint whose signature holds; undefined when it does not, or when it says another number. */
export function openCheckpoint(stored: StoredCheckpoint, publicKey: KeyObject): CheckpointStatement | undefined {
  const signature = Buffer.from(stored.signature, 'base64url');
  if (!verify(null, Buffer.from(CONTEXT + stored.statement), publicKey, signature)) return undefined;
  const said = JSON.parse(stored.statement) as Record<string, unknown>;
  const headsIn = (value: unknown) =>
    (value as [string, number, string][]).map(([writer, number, hash]) => ({ writer, number, hash }));
  const atMs = Date.parse(said.at as string);
  // The row's own number and time are only for ordering and must not say something else.
  if (said.number !== stored.number || atMs !== stored.atMs) return undefined;
  return {
    number: stored.number,
    atMs,
    previous: (said.previous as string | null) ?? undefined,
    keptFrom: said.kept_from as number,
    heads: headsIn(said.heads),
    cuts: headsIn(said.cuts),
  };
}

/** What the next checkpoint names as previous, and what an operator may note elsewhere: SHA-256, hex. */
export const checkpointDigest = ({ statement, signature }: StoredCheckpoint): string =>
  createHash('sha256').update(statement).update('\n').update(signature).digest('hex');

/** A key from PKCS8 PEM. Throws `misconfigured` for anything but Ed25519. */
export function checkpointKeyFromPem(pem: string): CheckpointKey {
  try {
    const privateKey = createPrivateKey(pem);
    if (privateKey.asymmetricKeyType === 'ed25519') return keyOf(privateKey);
  } catch (cause) {
    throw new SidecarError('misconfigured', 'not_configured', 'audit.signing_key holds no private key', { cause });
  }
  throw new SidecarError('misconfigured', 'not_configured', 'audit.signing_key is no Ed25519 key');
}

/** A new key. */
export const makeCheckpointKey = (): CheckpointKey => keyOf(generateKeyPairSync('ed25519').privateKey);

function keyOf(privateKey: KeyObject): CheckpointKey {
  const publicKey = createPublicKey(privateKey);
  return { privateKey, publicKey, keyId: keyIdOf(publicKey) };
}

/** RFC 7638 thumbprint of an Ed25519 public key. */
export function keyIdOf(publicKey: KeyObject): string {
  const { crv, kty, x } = publicKey.export({ format: 'jwk' });
  return hash('sha256', JSON.stringify({ crv, kty, x }), 'base64url');
}
