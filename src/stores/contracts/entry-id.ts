// The id of a revocation entry. It stands with the contract because every backend and the index must derive it alike.
import { digest } from '../../core/encoding.ts';
import type { RevocationKind } from './revocations.ts';

/**
 * Stable id of the entry for (kind, issuer, id); injective, so that no crafted id can replace another's entry. Begins with a
 * letter: people type it, and one that began with `-` would be an option to every command line.
 */
export function revocationEntryId(kind: RevocationKind, issuer: string, id: string): string {
  return `r${digest(JSON.stringify([kind, issuer, id]))}`;
}
