// Key-encryption keys and publishing keys: one form each, there where something rests on them, and no secret that everybody
// knows.
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import type { Path } from '../places.ts';
import type { KekConfig } from '../schema-keys.ts';
import { type Check, type CheckContext, withSecret } from './context.ts';

/** Checks `sealing` and `control_plane`. */
export const checkSealing: Check = (context) => {
  const { sealing, postgres } = context.config;
  if (postgres && !postgres.embedded && !sealing?.kek) {
    context.problem(['postgres'], 'needs sealing.kek: secrets are stored sealed');
  }
  if (sealing?.previous_kek && !sealing.kek)
    context.problem(['sealing', 'previous_kek'], 'needs kek, the key to move to');
  checkKek(context, ['sealing', 'kek'], sealing?.kek);
  checkKek(context, ['sealing', 'previous_kek'], sealing?.previous_kek);
  if (sealing && sealing.rotate_after < HOUR_MS) context.problem(['sealing', 'rotate_after'], 'needs at least 1h');
  checkPublishing(context);
};

const HOUR_MS = 3_600_000;
const BYTES = /^(?:[0-9a-fA-F]{64}|[A-Za-z0-9+/]{43}=?|[A-Za-z0-9_-]{43}=?)$/;
const LEAST_DISTINCT = 8;

function checkKek(context: CheckContext, path: Path, kek: KekConfig | undefined): void {
  if (!kek) return;
  const forms = (['key', 'passphrase', 'aws_kms'] as const).filter((form) => kek[form] !== undefined);
  if (forms.length !== 1) {
    context.problem(
      path,
      `needs exactly one of key, passphrase and aws_kms${forms.length ? `, not ${forms.join(' and ')}` : ''}`,
    );
  }
  withSecret(context, [...path, 'key'], kek.key, (text) => {
    if (!BYTES.test(text.trim())) return 'needs exactly 32 bytes in base64, base64url or hex';
    return new Set(text.trim()).size < LEAST_DISTINCT ? 'is too regular; make a random one' : undefined;
  });
  withSecret(context, [...path, 'passphrase'], kek.passphrase, (text) =>
    [...text].length < 16 || new Set(text).size < LEAST_DISTINCT
      ? 'needs at least 16 characters, not too regular'
      : undefined,
  );
}

function checkPublishing(context: CheckContext): void {
  const { control_plane: plane, redis, postgres } = context.config;
  if (!plane) return;
  if (!redis) context.problem(['control_plane'], 'needs redis, where documents are published');
  for (const name of ['public_key', 'previous_public_key'] as const) {
    withSecret(context, ['control_plane', name], plane[name], (pem) => {
      if (pem.includes('PRIVATE KEY')) return 'is a private key; only the public key belongs here';
      return isEd25519(() => createPublicKey(pem)) ? undefined : 'needs an Ed25519 public key in PEM';
    });
  }
  if (plane.signing_key && !postgres) {
    context.problem(['control_plane', 'signing_key'], 'needs postgres: only a control plane publishes');
  }
  withSecret(context, ['control_plane', 'signing_key'], plane.signing_key, (pem) =>
    isEd25519(() => createPrivateKey(pem)) ? undefined : 'needs an Ed25519 private key in PEM',
  );
}

function isEd25519(read: () => KeyObject): boolean {
  try {
    return read().asymmetricKeyType === 'ed25519';
  } catch {
    return false;
  }
}
