// Revoking where a durable store is configured: remembered there first, then told to the shared log. What could not be told
// is told later, by any replica that has the durable store, whether or not the one that took the call still lives; and a
// shared log that lost entries gets them back from here (design 5 and 7). What a replica without a durable store told the
// log is remembered too.
import type { Clock } from '../core/clock.ts';
import { isStoreUnavailable } from '../core/errors.ts';
import type { DurableRevocation, DurableRevocations } from '../stores/contracts/durable-revocations.ts';
import type { EndedGrants } from '../stores/contracts/grants.ts';
import type {
  RevocationDraft,
  RevocationEntry,
  RevocationGuard,
  RevocationHead,
  RevocationLog,
} from '../stores/contracts/revocations.ts';
import type { RevocationFollower } from './follower.ts';
import type { RevokeAnswer } from './follower-options.ts';
import type { RevocationIndex } from './index.ts';
import type { RememberedRevocations } from './recovery.ts';

/** What it is made of. */
export interface DurableRevokerOptions {
  readonly store: DurableRevocations;
  readonly log: RevocationLog;
  readonly follower: RevocationFollower;
  readonly index: RevocationIndex;
  readonly clock: Clock;
  /**
   * Ends what could bring new tokens of the revoked after the entry is gone: grants. A revocation resolves only after it; may
   * be called again for the same entry.
   */
  readonly endGrants?: (draft: RevocationDraft) => Promise<EndedGrants | undefined>;
}

const SEND_MS = 1000;
const ADOPT_MS = 2000;
/** What is younger is still on its way by the call that made it. */
const YOUNG_MS = 3000;
const SEND_COUNT = 500;
const PAGE = 500;

/**
 * Everything remembered that lives at `nowMs`, page by page, for a follower whose log lost data. Iterating rejects with
 * `store_unavailable`.
 */
export async function* rememberedRevocations(
  store: DurableRevocations,
  nowMs: () => number,
): AsyncGenerator<RememberedRevocations> {
  for (let after = ''; ; ) {
    const page = await store.page(after, PAGE, nowMs());
    const inForce = page.filter(({ undoneAtMs }) => undoneAtMs === undefined);
    const undone = page.filter(({ undoneAtMs }) => undoneAtMs !== undefined);
    yield { entries: inForce.map(({ entry }) => entry), undone: undone.map(({ entry }) => entry) };
    if (page.length < PAGE) return;
    after = (page.at(-1) as DurableRevocation).entry.entryId;
  }
}

/** Revokes durably, and keeps telling the shared log what it missed. */
export class DurableRevoker implements AsyncDisposable {
  readonly #options: DurableRevokerOptions;
  readonly #timers: readonly NodeJS.Timeout[];
  #sending: Promise<unknown> | undefined;
  #adopting: Promise<void> | undefined;
  /** How far the shared log has been remembered. */
  #adopted: RevocationHead | undefined;

  constructor(options: DurableRevokerOptions) {
    this.#options = options;
    this.#timers = [
      setInterval(() => void this.send(YOUNG_MS), SEND_MS).unref(),
      setInterval(() => void this.adopt(), ADOPT_MS).unref(),
    ];
  }

  /**
   * Durable once it resolves, and in force here; on every replica when the answer says `all`. Rejects with
   * `store_unavailable` when the durable store is away, and then nothing has happened. `guard` is asked about the entry that
   * the durable store remembers, which another replica may have made a moment ago, or told nobody else of yet.
   */
  async revoke(given: RevocationDraft, guard?: RevocationGuard): Promise<RevokeAnswer> {
    const { store, follower, clock, endGrants } = this.#options;
    const made = await store.put(given, clock.nowMs(), guard);
    const draft = { ...(guard === undefined ? given : draftOf(made.entry)), madeAtMs: made.madeAtMs };
    const [answer, ended] = await Promise.all([follower.revoke(draft), endGrants?.(draft)]);
    if (answer.applied === 'all') this.#settle(made, answer.entry.revokedAtMs);
    return { ...answer, ended };
  }

  /** Takes an entry back, durably; false when there is none. With the shared log away the others follow when it is back. */
  async undo(entryId: string): Promise<boolean> {
    const { store, follower, clock } = this.#options;
    const made = await store.undo(entryId, clock.nowMs());
    try {
      const undone = await follower.undo(entryId);
      if (made !== undefined) this.#settle(made, made.entry.revokedAtMs);
      return undone || made !== undefined;
    } catch (error) {
      if (made === undefined || !isStoreUnavailable(error)) throw error;
      follower.withdraw(made.entry);
      return true;
    }
  }

  /** Tells the shared log what it missed that is older than `minAgeMs`; answers how much that was. Never rejects. */
  async send(minAgeMs: number): Promise<number> {
    if (this.#sending !== undefined) return 0;
    const sending = this.#sendAll(minAgeMs);
    this.#sending = sending.catch(() => undefined);
    try {
      return await sending;
    } catch (error) {
      if (isStoreUnavailable(error)) return 0;
      throw error;
    } finally {
      this.#sending = undefined;
    }
  }

  /** Remembers what the shared log has and the durable store may lack. Never rejects for a store that is away. */
  adopt(): Promise<void> {
    this.#adopting ??= this.#adoptAll()
      .catch((error: unknown) => {
        if (!isStoreUnavailable(error)) throw error;
      })
      .finally(() => {
        this.#adopting = undefined;
      });
    return this.#adopting;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await Promise.all([this.#sending, this.#adopting]);
  }

  /** From the last place on; from the whole of it at first and where the log does not reach back that far. */
  async #adoptAll(): Promise<void> {
    const { log } = this.#options;
    const head = await log.head();
    if (head === undefined || (head.epoch === this.#adopted?.epoch && head.seq === this.#adopted.seq)) return;
    const events = this.#adopted === undefined ? undefined : await log.since(this.#adopted);
    if (events === undefined) return this.#adoptSnapshot();
    for (const event of events) {
      if (event.type === 'put') await this.#adoptEntry(event.entry);
      else await this.#options.store.adoptUndo(event.entry, this.#options.clock.nowMs());
    }
    const last = events.at(-1);
    if (last !== undefined) this.#adopted = { epoch: head.epoch, seq: last.type === 'put' ? last.entry.seq : last.seq };
  }

  /** What happens while it is read is adopted from its events at the next turn. */
  async #adoptSnapshot(): Promise<void> {
    const { store, log, endGrants } = this.#options;
    const snapshot = await log.snapshot();
    if (snapshot === undefined) return;
    for await (const batch of snapshot.batches) {
      const news = new Set(await store.adopt(batch));
      for (const entry of batch) if (news.has(entry.entryId)) await endGrants?.(entry);
    }
    this.#adopted = snapshot.from;
  }

  async #adoptEntry(entry: RevocationEntry): Promise<void> {
    await this.#options.store.adopt([entry]);
    await this.#options.endGrants?.(entry);
  }

  async #sendAll(minAgeMs: number): Promise<number> {
    const { store, clock } = this.#options;
    const waiting = await store.unsent(clock.nowMs() - minAgeMs, SEND_COUNT);
    for (const revocation of waiting) await store.settle(revocation, await this.#tell(revocation));
    return waiting.length;
  }

  /** The time at which the shared log took it. */
  async #tell({ entry, madeAtMs, undoneAtMs }: DurableRevocation): Promise<number> {
    const { log, index } = this.#options;
    if (undoneAtMs !== undefined) {
      await log.undo(entry.entryId);
      return entry.revokedAtMs;
    }
    const held = index.get(entry.kind, entry.issuer, entry.id);
    // The follower that took the call sent it by itself meanwhile.
    if (held !== undefined && held.seq > 0 && alike(held, entry)) return held.revokedAtMs;
    return (await log.append({ ...entry, madeAtMs })).revokedAtMs;
  }

  #settle(revocation: DurableRevocation, loggedAtMs: number): void {
    // Not waited for: when it fails the log is told a second time, which changes nothing.
    this.#options.store.settle(revocation, loggedAtMs).catch(() => undefined);
  }
}

function draftOf({ kind, issuer, id, untilMs, notBeforeMs, reason }: RevocationEntry): RevocationDraft {
  return { kind, issuer, id, untilMs, ...(notBeforeMs === undefined ? {} : { notBeforeMs }), reason };
}

const alike = (a: RevocationEntry, b: RevocationEntry) =>
  a.untilMs === b.untilMs && a.notBeforeMs === b.notBeforeMs && a.reason === b.reason;
