// The in-memory index of all active revocation entries: what a request is held against, without a look into any store.
// Keeping it in step with the log is follower.ts's work. Design 5.
import type { Principal } from '../core/principal.ts';
import {
  type RevocationEntry,
  type RevocationEvent,
  type RevocationKind,
  revocationKinds,
} from '../stores/contracts/revocations.ts';

type ByIssuer = Map<string, Map<string, RevocationEntry>>;

const idOf: Readonly<Record<RevocationKind, (principal: Principal) => string | undefined>> = {
  token: (principal) => principal.tokenId,
  session: (principal) => principal.session,
  family: (principal) => principal.family,
  subject: (principal) => principal.subject,
  client: (principal) => principal.client,
  tenant: (principal) => principal.tenant,
  key: (principal) => principal.keyId,
};

const SWEEP_STEP = 10_000;

const isExpired = (entry: RevocationEntry, nowMs: number) => entry.untilMs !== 'forever' && entry.untilMs <= nowMs;

function concerns(entry: RevocationEntry, principal: Principal, nowMs: number): boolean {
  if (isExpired(entry, nowMs)) return false;
  // Without iat nobody can tell that the token is newer than the revocation.
  return (
    entry.notBeforeMs === undefined || principal.issuedAtMs === undefined || principal.issuedAtMs < entry.notBeforeMs
  );
}

/** All active entries, looked up by (kind, issuer, id). */
export class RevocationIndex {
  readonly #kinds = new Map<RevocationKind, ByIssuer>();
  #size = 0;
  #generation = 0;
  #sweeping: Iterator<RevocationEntry> | undefined;

  /** Entries held, expired ones included until the next sweep. */
  get size(): number {
    return this.#size;
  }

  /**
   * Changes whenever an entry is put. A token that was cleared at this generation need not be looked up again: taking
   * entries back and expiry can only clear more.
   */
  get generation(): number {
    return this.#generation;
  }

  /** The entry that refuses this principal now, or undefined. */
  refuses(principal: Principal, nowMs: number): RevocationEntry | undefined {
    for (const [kind, issuers] of this.#kinds) {
      const id = idOf[kind](principal);
      if (id === undefined) continue;
      const entry = issuers.get(principal.issuer)?.get(id);
      if (entry !== undefined && concerns(entry, principal, nowMs)) return entry;
    }
    return undefined;
  }

  /** The entry for exactly this (kind, issuer, id). */
  get(kind: RevocationKind, issuer: string, id: string): RevocationEntry | undefined {
    return this.#kinds.get(kind)?.get(issuer)?.get(id);
  }

  /** Adds an entry, in place of an older one for the same (kind, issuer, id). */
  put(entry: RevocationEntry): void {
    let issuers = this.#kinds.get(entry.kind);
    if (issuers === undefined) {
      issuers = new Map();
      this.#kinds.set(entry.kind, issuers);
    }
    let ids = issuers.get(entry.issuer);
    if (ids === undefined) {
      ids = new Map();
      issuers.set(entry.issuer, ids);
    }
    if (!ids.has(entry.id)) this.#size += 1;
    ids.set(entry.id, entry);
    this.#generation += 1;
  }

  /** Removes the entry for (kind, issuer, id); false when there is none. */
  remove({ kind, issuer, id }: Pick<RevocationEntry, 'kind' | 'issuer' | 'id'>): boolean {
    const issuers = this.#kinds.get(kind);
    const ids = issuers?.get(issuer);
    if (issuers === undefined || ids === undefined || !ids.delete(id)) return false;
    this.#size -= 1;
    if (ids.size === 0) issuers.delete(issuer);
    if (issuers.size === 0) this.#kinds.delete(kind);
    return true;
  }

  /** Applies one step of the log. */
  apply(event: RevocationEvent): void {
    if (event.type === 'put') this.put(event.entry);
    else this.remove(event.entry);
  }

  /** Holds exactly `entries` from now on. */
  replace(entries: Iterable<RevocationEntry>): void {
    this.#kinds.clear();
    this.#sweeping = undefined;
    this.#size = 0;
    this.#generation += 1;
    for (const entry of entries) this.put(entry);
  }

  /** All entries, in the order of kinds. */
  *entries(): Generator<RevocationEntry> {
    for (const kind of revocationKinds) {
      for (const ids of this.#kinds.get(kind)?.values() ?? []) yield* ids.values();
    }
  }

  /** The entry with this id, found by walking: for operators, not for requests. */
  find(entryId: string): RevocationEntry | undefined {
    for (const entry of this.entries()) if (entry.entryId === entryId) return entry;
    return undefined;
  }

  /** Frees expired entries, a bounded number a call, so that no request waits for a million of them. */
  sweep(nowMs: number): void {
    this.#sweeping ??= this.entries();
    for (let step = 0; step < SWEEP_STEP; step += 1) {
      const next = this.#sweeping.next();
      if (next.done) {
        this.#sweeping = undefined;
        return;
      }
      if (isExpired(next.value, nowMs)) this.remove(next.value);
    }
  }
}
