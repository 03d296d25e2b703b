// Tells replicas of every change to a client: this one at once, the others through a signed document and, where tokens are to
// be refused, through the revocation log. Everything follows from the row, so that whichever replica finds a change that was
// not told (its maker died, or Redis was away) can finish it.
import type { Clock } from '../core/clock.ts';
import { SidecarError } from '../core/errors.ts';
import type { ClientNotice, ClientStore } from '../stores/contracts/clients.ts';
import { revocationEntryId } from '../stores/contracts/entry-id.ts';
import type { RevocationDraft, RevocationEntry, RevocationGuard } from '../stores/contracts/revocations.ts';

/** What it is made of. */
export interface ClientAnnouncerParts {
  readonly store: ClientStore;
  readonly clock: Clock;
  /** Takes a notice over on this replica: in all its processes, once what it may promise is kept. */
  readonly apply: (notice: ClientNotice) => unknown;
  /** Sends it to the others; undefined where there are none, or nothing to sign with. */
  readonly publish?: ((notice: ClientNotice) => Promise<unknown>) | undefined;
  readonly revocations: {
    /** The entry that names the client, if there is one. */
    entryOf(issuer: string, clientId: string): RevocationEntry | undefined;
    revoke(draft: RevocationDraft, guard: RevocationGuard): Promise<{ readonly applied: 'all' | 'pending' }>;
    undo(entryId: string): Promise<boolean>;
  };
  /** How long tokens of the issuer can live; undefined for issuers that sign nothing here. */
  readonly ownLifetimeMs: (issuer: string) => number | undefined;
  /** What became of telling what others left untold; `failed` once for each stretch of failures. */
  readonly onFailure?: (problem: string) => void;
}

const SWEEP_MS = 1000;
/** What is younger is still on its way by the call that made it. */
const YOUNG_MS = 3000;
const SWEEP_COUNT = 500;
const PAGE = 500;

/**
 * Reasons of the revocation entries that follow from records; others are operators'. `disabledOver` took the place of an
 * operator's entry that refused less; enabling then leaves `enabledOver`, so that nothing an operator revoked comes back.
 */
export const recordReasons = {
  disabled: 'client_disabled',
  disabledOver: 'client_disabled_after_revocation',
  enabledOver: 'client_enabled_after_revocation',
  removed: 'client_removed',
} as const;

/** One per replica that has PostgreSQL. */
export class ClientAnnouncer implements AsyncDisposable {
  readonly #parts: ClientAnnouncerParts;
  readonly #timer: NodeJS.Timeout;
  #sweeping: Promise<void> | undefined;
  #failing = false;
  #closed = false;

  constructor(parts: ClientAnnouncerParts) {
    this.#parts = parts;
    this.#timer = setInterval(() => void this.sweep(YOUNG_MS), SWEEP_MS).unref();
  }

  /**
   * Tells of a change that is durable already. In force on this replica once it resolves, and on all when the answer says
   * `all`; else the rest follows by itself. Never rejects for a store that is away.
   */
  async announce(notice: ClientNotice): Promise<'all' | 'pending'> {
    await this.#parts.apply(notice);
    try {
      return await this.#tell(notice);
    } catch (error) {
      if (isAway(error)) return 'pending';
      throw error;
    }
  }

  /** Tells what nobody told within `minAgeMs`. Never rejects. */
  sweep(minAgeMs: number): Promise<void> {
    this.#sweeping ??= this.#sweepOnce(minAgeMs).finally(() => {
      this.#sweeping = undefined;
    });
    return this.#sweeping;
  }

  /** Publishes every notice anew: what the store of documents had is lost, or grows old. Rejects with `store_unavailable`. */
  async publishAll(): Promise<number> {
    const { store, publish } = this.#parts;
    let told = 0;
    for (let after: ClientNotice | undefined; publish !== undefined && !this.#closed; ) {
      const page = await store.notices(after, PAGE);
      for (const notice of page) await publish(notice);
      told += page.length;
      after = page.at(-1);
      if (page.length < PAGE) break;
    }
    return told;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#sweeping;
  }

  async #sweepOnce(minAgeMs: number): Promise<void> {
    const { store, clock, apply, onFailure } = this.#parts;
    try {
      for (const notice of await store.unpublished(clock.nowMs() - minAgeMs, SWEEP_COUNT)) {
        await apply(notice);
        await this.#tell(notice);
      }
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) onFailure?.(error instanceof Error ? error.message : 'unknown');
      this.#failing = true;
    }
  }

  async #tell(notice: ClientNotice): Promise<'all' | 'pending'> {
    const { publish, store } = this.#parts;
    // The document goes first: it alone holds whether the log can be reached or not.
    await publish?.(notice);
    const applied = await this.#revokeOrUndo(notice);
    const latest = await this.#laterThan(notice);
    if (latest !== undefined) return this.announce(latest);
    await store.published(notice);
    return applied;
  }

  /** Two replicas that change one client at once may revoke and undo in the wrong order; who sees the later one sets it right. */
  async #laterThan({ issuer, clientId, version }: ClientNotice): Promise<ClientNotice | undefined> {
    const latest = await this.#parts.store.notice(issuer, clientId);
    return latest !== undefined && latest.version > version ? latest : undefined;
  }

  async #revokeOrUndo(notice: ClientNotice): Promise<'all' | 'pending'> {
    const { revocations } = this.#parts;
    const { issuer, clientId } = notice;
    const present = revocations.entryOf(issuer, clientId);
    const wanted = this.#wanted(notice, present);
    if (wanted === 'none') return 'all';
    if (wanted !== 'undo') {
      // Another replica may have revoked the client a moment ago, or with Redis away, and told nobody of it yet.
      const guard: RevocationGuard = (draft, held) => {
        const beside = this.#wanted(notice, held);
        return beside === 'none' ? held : beside === 'undo' ? draft : beside;
      };
      return (await revocations.revoke(wanted, guard)).applied;
    }
    await revocations.undo(revocationEntryId('client', issuer, clientId));
    return 'all';
  }

  /** What has to happen to the log for this state of the record. */
  #wanted(notice: ClientNotice, present: RevocationEntry | undefined): RevocationDraft | 'undo' | 'none' {
    if (notice.removed) return this.#wantedForRemoved(notice, present);
    const { issuer, clientId: id, changedAtMs } = notice;
    const forever = { kind: 'client', issuer, id, untilMs: 'forever' } as const;
    if (notice.disabled) {
      if (present !== undefined && refusesAll(present)) return 'none';
      const over = present !== undefined && present.reason !== recordReasons.removed;
      return { ...forever, reason: over ? recordReasons.disabledOver : recordReasons.disabled };
    }
    if (present?.reason === recordReasons.disabled) return 'undo';
    if (present?.reason !== recordReasons.disabledOver) return 'none';
    return { ...forever, notBeforeMs: changedAtMs, reason: recordReasons.enabledOver };
  }

  /** A client of ours is gone, and so is what it got; a removed record of a foreign client says nothing of its tokens. */
  #wantedForRemoved(
    { issuer, clientId: id, changedAtMs }: ClientNotice,
    present: RevocationEntry | undefined,
  ): RevocationDraft | 'undo' | 'none' {
    const ours = present === undefined || present.reason === recordReasons.disabled;
    const lifetimeMs = this.#parts.ownLifetimeMs(issuer);
    if (lifetimeMs === undefined) return present !== undefined && ours ? 'undo' : 'none';
    if (!ours && (refusesAll(present) || (present.notBeforeMs ?? 0) >= changedAtMs)) return 'none';
    const untilMs = changedAtMs + lifetimeMs;
    if (untilMs <= this.#parts.clock.nowMs()) return 'none';
    return { kind: 'client', issuer, id, untilMs, notBeforeMs: changedAtMs, reason: recordReasons.removed };
  }
}

/** True for an entry that refuses whatever it names, without end. */
export const refusesAll = ({ untilMs, notBeforeMs }: Pick<RevocationDraft, 'untilMs' | 'notBeforeMs'>): boolean =>
  untilMs === 'forever' && notBeforeMs === undefined;

/** True for an entry that stands only because its client is disabled; an operator's may stand besides. */
export const followsFromDisabling = ({ reason }: Pick<RevocationDraft, 'reason'>): boolean =>
  reason === recordReasons.disabled || reason === recordReasons.disabledOver;

const isAway = (error: unknown) => error instanceof SidecarError && error.kind === 'store_unavailable';
