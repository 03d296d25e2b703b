// Pages of the index for operators: the newest entries, found in one walk that makes only those that may be on the page.
import type { RevocationEntry, RevocationKind } from '../stores/contracts/revocations.ts';
import type { RevocationIndex } from './index.ts';

/** Which entries: of some kinds, and after a place in the order newest first, ties by id. */
export interface NewestQuery {
  readonly kinds?: readonly RevocationKind[] | undefined;
  readonly after?: { readonly atMs: number; readonly id: string } | undefined;
  readonly limit: number;
}

/** Negative when `a` stands before `b`. */
function compare(a: RevocationEntry, atMs: number, id: string): number {
  if (a.revokedAtMs !== atMs) return atMs - a.revokedAtMs;
  return a.entryId < id ? -1 : a.entryId > id ? 1 : 0;
}

/** At most `limit` active entries in order. The walk leaves turns to requests. */
export async function newest(
  index: RevocationIndex,
  { kinds, after, limit }: NewestQuery,
  nowMs: number,
): Promise<readonly RevocationEntry[]> {
  const found: RevocationEntry[] = [];
  const last = () => (found.length < limit ? undefined : found[limit - 1]);
  const walk = index.walk((glance) => {
    if (glance.untilMs <= nowMs || kinds?.includes(glance.kind) === false) return false;
    if (after !== undefined && glance.revokedAtMs > after.atMs) return false;
    return glance.revokedAtMs >= (last()?.revokedAtMs ?? 0);
  });
  for await (const batch of walk) {
    for (const entry of batch) {
      if (after !== undefined && compare(entry, after.atMs, after.id) <= 0) continue;
      const at = placeOf(found, entry);
      if (at < limit) found.splice(at, 0, entry);
      if (found.length > limit) found.pop();
    }
  }
  return found;
}

/** Where `entry` belongs in a list in order. */
function placeOf(found: readonly RevocationEntry[], entry: RevocationEntry): number {
  let [low, high] = [0, found.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const { revokedAtMs, entryId } = found[middle] as RevocationEntry;
    if (compare(entry, revokedAtMs, entryId) < 0) high = middle;
    else low = middle + 1;
  }
  return low;
}
