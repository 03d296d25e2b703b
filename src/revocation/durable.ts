// Revoking where a durable store is configured: remembered there first, then told to the shared log. What could not be told
// is told later, by any replica that has the durable store, whether or not the one that took the call still lives; and a
// shared log that lost entries gets them back from here (design 5 and 7). What a replica without a durable store told the
// log is remembered too.
import type { Clock } from '../core/clock.ts';
import { isStoreUnavailable } from '../core/errors.ts';
import type { DurableRevocation, DurableRevocations } from '../stores/contracts/durable-revocations.ts';
import type { EndedGrants } from '../stores/contracts/grants.ts';
import {
  madeMs,
  type RevocationDraft,
  type RevocationEntry,
  type RevocationGuard,
  type RevocationHead,
  type RevocationLog,
} from '../stores/contracts/revocations.ts';
import type { RevocationFollower } from './follower.ts';
import type { RevokeAnswer } from './follower-options.ts';
import type { RememberedRevocations } from './recovery.ts';

/** What it is made of. */
export interface DurableRevokerOptions {
  readonly store: DurableRevocations;
  readonly log: RevocationLog;
  readonly follower: RevocationFollower;
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
    yield { entries: inForce.map(madeEntry), undone: undone.map(madeEntry) };
    if (page.length < PAGE) return;
    after = (page.at(-1) as DurableRevocation).entry.entryId;
  }
}

const madeEntry = ({ entry, madeAtMs }: DurableRevocation): RevocationEntry => ({ ...entry, madeAtMs });

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
    if (answer.applied === 'all' && alike(answer.entry, draft)) this.#settle(made, answer.entry.revokedAtMs);
    return { ...answer, ended };
  }

  /** Takes an entry back, durably; false when there is none. With the shared log away the others follow when it is back. */
  async undo(entryId: string): Promise<boolean> {
    const { store, follower, clock } = this.#options;
    const forget = () => store.undo(entryId, clock.nowMs());
    let made = await forget();
    if (made === undefined) {
      const unremembered = await follower.find(entryId);
      if (unremembered === undefined) return false;
      // It may have been remembered meanwhile: the log is never told first.
      made = await forget();
      if (made === undefined) return follower.undo(entryId, madeMs(unremembered));
    }
    try {
      // What the log did not have, or has from later, is looked into when it is told again.
      if (await follower.undo(entryId, made.undoneAtMs)) this.#settle(made, made.entry.revokedAtMs);
    } catch (error) {
      if (!isStoreUnavailable(error)) throw error;
      follower.withdraw(made.entry, made.undoneAtMs);
    }
    return true;
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
      else await this.#options.store.adoptUndo(event.entry);
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
    for (const revocation of waiting) await this.#tell(revocation);
    return waiting.length;
  }

  /** What the log has from later stays, and is remembered: it was not while this one waited. */
  async #tell(revocation: DurableRevocation): Promise<void> {
    const { store, log } = this.#options;
    const { entry, madeAtMs, undoneAtMs } = revocation;
    const { entryId } = entry;
    const isUndo = undoneAtMs !== undefined;
    if (isUndo) await log.undo(entryId, undoneAtMs);
    // The index may be behind, and cannot say whether the log has the entry; the log knows.
    const stands = isUndo ? await log.get(entryId) : await log.append({ ...entry, madeAtMs });
    if (stands === undefined) return store.settle(revocation, entry.revokedAtMs);
    const isTold = !isUndo && alike(stands, entry);
    await store.settle(revocation, isTold ? stands.revokedAtMs : stands.revokedAtMs - 1);
    if (!isTold) await this.#adoptEntry(stands);
  }

  #settle(revocation: DurableRevocation, loggedAtMs: number): void {
    // Not waited for: when it fails the log is told a second time, which changes nothing.
    this.#options.store.settle(revocation, loggedAtMs).catch(() => undefined);
  }
}

const alike = (a: RevocationDraft, b: RevocationDraft) =>
  a.untilMs === b.untilMs && a.notBeforeMs === b.notBeforeMs && a.reason === b.reason;

function draftOf({ kind, issuer, id, untilMs, notBeforeMs, reason }: RevocationEntry): RevocationDraft {
  return { kind, issuer, id, untilMs, ...(notBeforeMs === undefined ? {} : { notBeforeMs }), reason };
}
