// Secrets of clients: how they are made, and whether one that was presented is a client's. Shown once, kept as digests.
import { timingSafeEqual } from 'node:crypto';
import { randomId } from '../core/ids.ts';
import { mintPrefixedSecret, secretDigest } from '../core/prefixed-secret.ts';
import { type Client, type ClientSecret, MAX_SECRETS } from '../stores/contracts/clients.ts';

const PREFIX_LENGTH = 10;

/** A new secret, and what is kept of it. `expiresAtMs` undefined: until it is removed. */
export function newClientSecret(
  nowMs: number,
  expiresAtMs: number | undefined,
): { readonly secret: string; readonly kept: ClientSecret } {
  const secret = mintPrefixedSecret('dws');
  const kept: ClientSecret = {
    id: `cs_${randomId()}`,
    digest: secretDigest(secret),
    prefix: secret.slice(0, PREFIX_LENGTH),
    createdAtMs: nowMs,
    expiresAtMs,
    lastUsedAtMs: undefined,
  };
  return { secret, kept };
}

/** Equal to no digest that anything has: what clients without secrets, or without existence, are compared with. */
const NOBODY = Buffer.alloc(32);

/**
 * The id of the live secret of this client that was presented; undefined when it is none of them. Always makes the same
 * number of comparisons, each in constant time, also for a client that does not exist (undefined), so that time tells neither
 * which secret was near nor whether there is such a client (attack 121). Says nothing of `disabled` and `authMethod`.
 */
export function authenticateSecret(client: Client | undefined, presented: string, nowMs: number): string | undefined {
  const shown = Buffer.from(secretDigest(presented), 'hex');
  const live = liveSecrets(client, nowMs);
  let found: string | undefined;
  for (let at = 0; at < MAX_SECRETS; at += 1) {
    const secret = live[at];
    const same = timingSafeEqual(shown, secret === undefined ? NOBODY : Buffer.from(secret.digest, 'hex'));
    if (same && secret !== undefined) found = secret.id;
  }
  return found;
}

/** Secrets that have not expired, oldest first. */
export function liveSecrets(client: Client | undefined, nowMs: number): readonly ClientSecret[] {
  return (client?.secrets ?? []).filter(({ expiresAtMs }) => expiresAtMs === undefined || expiresAtMs > nowMs);
}
