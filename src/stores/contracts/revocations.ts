// Contract of the revocation log (design 5): one ordered log of entries; every replica keeps all active ones in memory
// (revocation/index.ts) and compares `{epoch, seq}` with every batch of checks.

/** What an entry refuses. Every id means the pair (issuer, id), so two issuers' "alice" never meet. */
export type RevocationKind = 'token' | 'session' | 'family' | 'subject' | 'client' | 'tenant' | 'key';

/** All kinds, in the order in which a token is looked up. */
export const revocationKinds: readonly RevocationKind[] = [
  'token',
  'session',
  'family',
  'subject',
  'client',
  'tenant',
  'key',
];

/** How far the log has come. Another epoch, or a smaller seq than one seen before, means that the store lost data. */
export interface RevocationHead {
  readonly epoch: string;
  readonly seq: number;
}

/** What a caller asks to be refused. Times in ms since the epoch. */
export interface RevocationDraft {
  readonly kind: RevocationKind;
  readonly issuer: string;
  readonly id: string;
  /** The entry lives exactly as long as what it refuses can live; `forever` only for subject, client, tenant and key. */
  readonly untilMs: number | 'forever';
  /** Refuse only what was issued before this; later logins pass. */
  readonly notBeforeMs?: number;
  readonly reason: string;
  /**
   * Where a durable store remembers revocations, the time by which it orders those of one entry: replicas tell the log in whatever
   * order their calls arrive. For {@link RevocationLog.append}; entries that come from the log may lack it.
   */
  readonly madeAtMs?: number;
}

/**
 * What `draft` becomes beside the active entry whose place it would take: there is one entry per kind, issuer and id. Throws
 * where it may not take it. Asked once for each place that knows of entries, so it depends on nothing else.
 */
export type RevocationGuard = (draft: RevocationDraft, held: RevocationEntry) => RevocationDraft;

/** The draft as the guard leaves it; as it is without a guard or an entry. */
export const guarded = (
  draft: RevocationDraft,
  held: RevocationEntry | undefined,
  guard: RevocationGuard | undefined,
): RevocationDraft => (held === undefined || guard === undefined ? draft : guard(draft, held));

/** Whether `held` refuses, as long and from as late on, whatever `draft` would. */
export const refusesNoLess = (held: RevocationDraft, draft: RevocationDraft): boolean =>
  (held.untilMs === 'forever' || (draft.untilMs !== 'forever' && held.untilMs >= draft.untilMs)) &&
  (held.notBeforeMs === undefined || (draft.notBeforeMs !== undefined && held.notBeforeMs >= draft.notBeforeMs));

/** An entry of the log. `entryId` is derived from (kind, issuer, id): revoking again replaces the entry. */
export interface RevocationEntry extends RevocationDraft {
  readonly entryId: string;
  readonly seq: number;
  readonly revokedAtMs: number;
}

/** When an entry was made, by which one that was made earlier and comes later is known; when the log took it, where it does not say. */
export const madeMs = ({ madeAtMs, revokedAtMs }: RevocationEntry): number => madeAtMs ?? revokedAtMs;

/** Whether `a` was made after `b`, which is of the same thing. */
export const isLater = (a: RevocationEntry, b: RevocationEntry): boolean => madeMs(a) > madeMs(b);

/**
 * Whether `held` stays where `draft` comes, which was made at `madeAtMs`: before it, or the same. What would refuse more comes in
 * nevertheless, because a clock may have been wrong.
 */
export const stands = (held: RevocationEntry, draft: RevocationDraft, madeAtMs: number | undefined): boolean =>
  madeAtMs !== undefined && madeMs(held) >= madeAtMs && (refusesNoLess(held, draft) || !refusesNoLess(draft, held));

/** The time of a draft where it takes the place of `held`: later, so that wherever the two meet again the same one stands. */
export const madeOver = (held: RevocationEntry | undefined, { madeAtMs }: RevocationDraft): number | undefined =>
  madeAtMs === undefined || held === undefined ? madeAtMs : Math.max(madeAtMs, madeMs(held) + 1);

/**
 * A step of the log since some seq. `restored` marks an entry that a rebuild put back: a replica that saw it undone takes
 * it back again. An undo carries the entry it removed, so that no index needs a second map by id.
 */
export type RevocationEvent =
  | { readonly type: 'put'; readonly entry: RevocationEntry; readonly restored: boolean }
  | { readonly type: 'undo'; readonly entry: RevocationEntry; readonly seq: number };

/** Entries in pieces, so that a million are never in memory at once as objects. */
export type EntryBatches = AsyncIterable<readonly RevocationEntry[]> | Iterable<readonly RevocationEntry[]>;

/**
 * All active entries, read in batches while the log goes on. An entry may come twice, and what changes meanwhile may or may
 * not be among them: the state at a later head is these batches with the events {@link RevocationLog.since} `from` on top. The
 * events may also be read and applied between batches. Iterating rejects with `store_unavailable`.
 */
export interface RevocationSnapshot {
  /** The head before the first batch. */
  readonly from: RevocationHead;
  readonly batches: AsyncIterable<readonly RevocationEntry[]>;
}

/** What a rebuild left. */
export interface RebuiltLog {
  readonly head: RevocationHead;
  /** How many heard of it at once, this replica included if it watches; others that are there will add what they know. */
  readonly listeners: number;
}

/**
 * How long entries are kept after they have expired, in ms. They refuse nobody by a clock that is right; one that was ahead for a while
 * (that of a store, or of a machine before it learned the time) must not have dropped what is needed when it is right again.
 */
export const KEPT_AFTER_MS = 2 * 3_600_000;

/** Beyond this a head is none: a new log begins at 0 again. Far below 2 ** 48, so that no arithmetic on a seq ever rounds. */
export const MAX_SEQ = 1e14;

/**
 * Guarantees: appends are ordered by `seq` without gaps; an entry is visible in the head of the next check on every
 * replica once `append` resolved; expired entries leave the store by themselves, without an event; every call rejects with
 * `store_unavailable` when the store is away. A log whose entries were lost as a whole while its head stayed is no log.
 */
export interface RevocationLog {
  /**
   * Answers what stands in the log afterwards: the draft, or the entry that was made later (`madeAtMs`) unless the draft refuses
   * more, which then counts as the later one.
   * Rejects with `store_unavailable` where there is no log, or one behind what this replica has seen: rebuild first.
   */
  append(draft: RevocationDraft): Promise<RevocationEntry>;
  /** Takes an entry back and answers it; undefined when there is none, or none that was made by `upToMs` ({@link madeMs}). */
  undo(entryId: string, upToMs?: number): Promise<RevocationEntry | undefined>;
  /** The entry with this id; undefined when there is none. */
  get(entryId: string): Promise<RevocationEntry | undefined>;
  /** The current head; undefined when the store holds no log. */
  head(): Promise<RevocationHead | undefined>;
  /**
   * Undefined when the store holds no log (lost, or never made). Rejects with `store_unavailable` while another replica is
   * still rebuilding it.
   */
  snapshot(): Promise<RevocationSnapshot | undefined>;
  /** Events after `head.seq` in order; undefined when the stream no longer reaches back that far or the epoch differs. */
  since(head: RevocationHead): Promise<readonly RevocationEvent[] | undefined>;
  /**
   * Makes a log where there is none, or where the one there fell behind `last` (what this replica had seen), under a new
   * epoch whose seq starts at or above `last.seq` (at 0 once that is far beyond any real one), and puts `entries` that it
   * does not hold yet, or holds from earlier ({@link isLater}). Replicas that race make one log: while one makes it of several
   * batches the others are refused with `store_unavailable`, and add afterwards what only they knew. Put entries get new seqs.
   * `onto`: the log as it was read that `entries` complete; where it is gone, or what was put so far is, the call rejects with
   * `store_unavailable`, since what remains would pass for a whole log.
   */
  rebuild(entries: EntryBatches, last: RevocationHead | undefined, onto?: RevocationHead): Promise<RebuiltLog>;
  /** The latest time by which the log has dropped entries, {@link KEPT_AFTER_MS} later than they expired, in ms since the epoch. Rejects with `store_unavailable`. */
  timeMs(): Promise<number>;
  /** Calls back soon after any append, undo, rebuild or limit reset by any replica, also without traffic. */
  watch(onNotice: (notice: StoreNotice) => void): Promise<AsyncDisposable>;
}

/** Pushed to every replica, best effort; correctness never rests on it (the head of each batch does). */
export type StoreNotice =
  | { readonly type: 'revocations'; readonly head: RevocationHead }
  | { readonly type: 'limit_reset'; readonly key: string };
