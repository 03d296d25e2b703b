// The in-memory index of all active revocation entries: what a request is held against, without a look into any store.
// Keeping it in step with the log is follower.ts's work; how entries are kept is packed-entries.ts's. Design 5.
import { setImmediate as turn } from 'node:timers/promises';
import type { Principal } from '../core/principal.ts';
import {
  type RevocationEntry,
  type RevocationEvent,
  type RevocationKind,
  revocationKinds,
} from '../stores/contracts/revocations.ts';
import type { Ref } from './arena.ts';
import { PARTS, PackedEntries } from './packed-entries.ts';
import type { Hash } from './seeded-hash.ts';

const idOf: readonly ((principal: Principal) => string | undefined)[] = revocationKinds.map(
  (kind) =>
    ({
      token: (principal: Principal) => principal.tokenId,
      session: (principal: Principal) => principal.session,
      family: (principal: Principal) => principal.family,
      subject: (principal: Principal) => principal.subject,
      client: (principal: Principal) => principal.client,
      tenant: (principal: Principal) => principal.tenant,
      key: (principal: Principal) => principal.keyId,
    })[kind],
);

const SWEEP_STEP = 10_000;
const BATCH = 500;

/** What can be known of an entry without making it: for walks over many that want few. */
export interface EntryGlance {
  readonly kind: RevocationKind;
  /** Infinity for ever. */
  readonly untilMs: number;
  readonly revokedAtMs: number;
  /** 0 while the entry has no place in the log. */
  readonly seq: number;
}

/** Whether an entry with these bounds refuses what was issued at `issuedAtMs`. Infinity is for ever. */
export function isRefused(
  untilMs: number,
  notBeforeMs: number | undefined,
  issuedAtMs: number | undefined,
  nowMs: number,
): boolean {
  if (untilMs <= nowMs) return false;
  // Without iat nobody can tell that the token is newer than the revocation.
  return notBeforeMs === undefined || issuedAtMs === undefined || issuedAtMs < notBeforeMs;
}

/** Whether `draft` would refuse this principal now. */
export function wouldRefuse(
  {
    kind,
    issuer,
    id,
    untilMs,
    notBeforeMs,
  }: Pick<RevocationEntry, 'kind' | 'issuer' | 'id' | 'untilMs' | 'notBeforeMs'>,
  principal: Principal,
  nowMs: number,
): boolean {
  const idOfKind = idOf[revocationKinds.indexOf(kind)];
  if (issuer !== principal.issuer || idOfKind?.(principal) !== id) return false;
  return isRefused(
    untilMs === 'forever' ? Number.POSITIVE_INFINITY : untilMs,
    notBeforeMs,
    principal.issuedAtMs,
    nowMs,
  );
}

/** All active entries, looked up by (kind, issuer, id). */
export class RevocationIndex {
  readonly #hash: Hash | undefined;
  #entries: PackedEntries;
  #generation = 0;
  #swept = 0;

  /** `hash` is given only by tests of what happens when hashes are equal. */
  constructor(hash?: Hash) {
    this.#hash = hash;
    this.#entries = new PackedEntries(hash);
  }

  /** Entries held, expired ones included until the next sweep. */
  get size(): number {
    return this.#entries.size;
  }

  /** Bytes of the packed entries, without the table of about 12 bytes an entry. */
  get arenaBytes(): number {
    return this.#entries.arenaBytes;
  }

  /**
   * Changes whenever an entry is put. A token that was cleared at this generation need not be looked up again: taking
   * entries back and expiry can only clear more.
   */
  get generation(): number {
    return this.#generation;
  }

  /** Whether any entry refuses this principal now. Allocates nothing when none does: asked in the request path. */
  isRefused(principal: Principal, nowMs: number): boolean {
    return this.#refusing(principal, nowMs) !== 0;
  }

  /** The entry that refuses this principal now, or undefined. */
  refuses(principal: Principal, nowMs: number): RevocationEntry | undefined {
    const ref = this.#refusing(principal, nowMs);
    return ref === 0 ? undefined : this.#entries.entryOf(ref);
  }

  /** The entry for exactly this (kind, issuer, id). */
  get(kind: RevocationKind, issuer: string, id: string): RevocationEntry | undefined {
    const ref = this.#entries.find(revocationKinds.indexOf(kind), issuer, id);
    return ref === 0 ? undefined : this.#entries.entryOf(ref);
  }

  /** When the entry for (kind, issuer, id) was made, as {@link madeMs} of it; -1 when there is none. */
  madeMs({ kind, issuer, id }: Pick<RevocationEntry, 'kind' | 'issuer' | 'id'>): number {
    const ref = this.#entries.find(revocationKinds.indexOf(kind), issuer, id);
    return ref === 0 ? -1 : (this.#entries.madeAtMs(ref) ?? this.#entries.revokedAtMs(ref));
  }

  /** Adds an entry, in place of an older one for the same (kind, issuer, id). */
  put(entry: RevocationEntry): void {
    this.#entries.put(entry);
    this.#generation += 1;
  }

  /** Removes the entry for (kind, issuer, id); false when there is none. */
  remove({ kind, issuer, id }: Pick<RevocationEntry, 'kind' | 'issuer' | 'id'>): boolean {
    return this.#entries.remove(kind, issuer, id);
  }

  /** Applies one step of the log. */
  apply(event: RevocationEvent): void {
    if (event.type === 'put') this.put(event.entry);
    else this.remove(event.entry);
  }

  /** Holds exactly `entries` from now on. */
  replace(entries: Iterable<RevocationEntry>): void {
    const next = new RevocationIndex(this.#hash);
    for (const entry of entries) next.put(entry);
    this.take(next);
  }

  /** Holds what `other` held from now on, in one step; `other` is empty afterwards. */
  take(other: RevocationIndex): void {
    this.#entries = other.#entries;
    this.#generation += 1;
    this.#swept = 0;
    other.#entries = new PackedEntries(other.#hash);
  }

  /** All entries, in no order. For tests and for few; many are walked with {@link walk}. */
  *entries(): Generator<RevocationEntry> {
    for (let part = 0; part < PARTS; part += 1) yield* this.#read(part, undefined);
  }

  /**
   * All entries for which `wanted` holds, in no order, in batches of at most 500 made in turns of their own, so that requests
   * go on meanwhile. What is put or removed during the walk may or may not be among them; nothing comes twice that stays.
   */
  async *walk(wanted?: (glance: EntryGlance) => boolean): AsyncGenerator<readonly RevocationEntry[]> {
    let looked = 0;
    let batch: RevocationEntry[] = [];
    for (let part = 0; part < PARTS; part += 1) {
      for (const entry of this.#read(part, wanted)) batch.push(entry);
      looked += this.#entries.size / PARTS;
      for (; batch.length >= BATCH; batch = batch.slice(BATCH)) yield batch.slice(0, BATCH);
      if (looked < BATCH) continue;
      looked = 0;
      await turn();
    }
    if (batch.length > 0) yield batch;
  }

  /** The entry with this id, found by walking in turns: for operators while no store can be asked, never for requests. */
  async find(entryId: string): Promise<RevocationEntry | undefined> {
    for await (const batch of this.walk()) {
      const found = batch.find((entry) => entry.entryId === entryId);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Frees expired entries and what memory they leave, about 10,000 entries a call, so that no request waits for a million. */
  sweep(nowMs: number): void {
    for (let looked = 0, parts = 0; looked < SWEEP_STEP && parts < PARTS; parts += 1) {
      looked += this.#entries.sweep(this.#swept, nowMs);
      this.#swept = (this.#swept + 1) % PARTS;
    }
  }

  #refusing(principal: Principal, nowMs: number): Ref {
    const entries = this.#entries;
    for (let kind = 0; kind < idOf.length; kind += 1) {
      if (!entries.has(kind)) continue;
      const id = (idOf[kind] as (typeof idOf)[number])(principal);
      const ref = id === undefined ? 0 : entries.find(kind, principal.issuer, id);
      if (ref !== 0 && isRefused(entries.untilMs(ref), entries.notBeforeMs(ref), principal.issuedAtMs, nowMs))
        return ref;
    }
    return 0;
  }

  #read(part: number, wanted: ((glance: EntryGlance) => boolean) | undefined): RevocationEntry[] {
    const read: RevocationEntry[] = [];
    const entries = this.#entries;
    for (const ref of entries.refsIn(part)) {
      if (wanted === undefined || wanted(glanceAt(entries, ref))) read.push(entries.entryOf(ref));
    }
    return read;
  }
}

const glanceAt = (entries: PackedEntries, ref: Ref): EntryGlance => ({
  kind: entries.kindOf(ref),
  untilMs: entries.untilMs(ref),
  revokedAtMs: entries.revokedAtMs(ref),
  seq: entries.seqOf(ref),
});
