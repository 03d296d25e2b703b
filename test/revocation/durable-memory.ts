// The durable copy of the revocation log without PostgreSQL, for models of many replicas: every call is one step that nothing comes
// between. Held to the same contract (durable-memory.test.ts).
import { isStorable } from '../../src/core/encoding.ts';
import { storeUnavailable } from '../../src/core/errors.ts';
import type { DurableRevocation, DurableRevocations } from '../../src/stores/contracts/durable-revocations.ts';
import { revocationEntryId } from '../../src/stores/contracts/entry-id.ts';
import {
  guarded,
  KEPT_AFTER_MS,
  madeMs,
  type RevocationDraft,
  type RevocationEntry,
  type RevocationGuard,
  type RevocationKind,
} from '../../src/stores/contracts/revocations.ts';

interface Row {
  readonly draft: RevocationDraft;
  readonly madeAtMs: number;
  readonly loggedAtMs: number | undefined;
  readonly undoneAtMs: number | undefined;
  readonly unsent: boolean;
}

const LAST_MS = 253_402_300_799_999;
const UNDONE_KEPT_MS = 30 * 86_400_000;
const FOREVER_KINDS: ReadonlySet<RevocationKind> = new Set(['subject', 'client', 'tenant', 'key']);
const NEVER = Number.NEGATIVE_INFINITY;

/** {@link DurableRevocations} in a map. */
export class MemoryDurable implements DurableRevocations {
  /** Rows by entry id; a test may keep and put back a copy, as a backup of a database. */
  rows = new Map<string, Row>();
  /** Every call rejects while it is true. */
  away = false;

  async put(given: RevocationDraft, nowMs: number, guard?: RevocationGuard): Promise<DurableRevocation> {
    this.#ask();
    const entryId = revocationEntryId(given.kind, given.issuer, given.id);
    const held = this.rows.get(entryId);
    const isActive = held !== undefined && held.undoneAtMs === undefined && lives(held, nowMs);
    const draft = guarded(given, isActive ? revocationOf(entryId, held).entry : undefined, guard);
    const madeAtMs = Math.max(nowMs, ...[held?.madeAtMs, held?.loggedAtMs, held?.undoneAtMs].map(after));
    return this.#keep(entryId, {
      draft: plain(draft),
      madeAtMs,
      loggedAtMs: undefined,
      undoneAtMs: undefined,
      unsent: true,
    });
  }

  async undo(entryId: string, nowMs: number): Promise<DurableRevocation | undefined> {
    this.#ask();
    const held = this.rows.get(entryId);
    if (held === undefined || held.undoneAtMs !== undefined || !lives(held, nowMs)) return undefined;
    return this.#keep(entryId, { ...held, undoneAtMs: undoneAt(held, nowMs), unsent: true });
  }

  async settle({ entry, madeAtMs, undoneAtMs }: DurableRevocation, loggedAtMs: number): Promise<void> {
    this.#ask();
    const held = this.rows.get(entry.entryId);
    if (held?.madeAtMs !== madeAtMs || held.undoneAtMs !== undoneAtMs) return;
    this.rows.set(entry.entryId, { ...held, unsent: false, loggedAtMs });
  }

  async unsent(madeBeforeMs: number, limit: number): Promise<readonly DurableRevocation[]> {
    this.#ask();
    const changedAtMs = (row: Row) => row.undoneAtMs ?? row.madeAtMs;
    return [...this.rows]
      .filter(([, row]) => row.unsent && changedAtMs(row) <= madeBeforeMs)
      .sort(([, a], [, b]) => changedAtMs(a) - changedAtMs(b))
      .slice(0, limit)
      .map(([entryId, row]) => revocationOf(entryId, row));
  }

  async page(afterId: string, limit: number, nowMs: number): Promise<readonly DurableRevocation[]> {
    this.#ask();
    return [...this.rows]
      .filter(([entryId, row]) => entryId > afterId && lives(row, nowMs))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .slice(0, limit)
      .map(([entryId, row]) => revocationOf(entryId, row));
  }

  async adopt(entries: readonly RevocationEntry[]): Promise<readonly string[]> {
    this.#ask();
    const last = new Map(entries.filter(isRemembered).map((entry) => [entry.entryId, entry]));
    const adopted: string[] = [];
    for (const [entryId, entry] of last) {
      const { revokedAtMs } = entry;
      const held = this.rows.get(entryId);
      if (held !== undefined && (held.undoneAtMs ?? NEVER) >= (entry.madeAtMs ?? Number.POSITIVE_INFINITY))
        this.rows.set(entryId, { ...held, unsent: true });
      if (this.rows.get(entryId)?.unsent) continue;
      const isOlder = (held?.loggedAtMs ?? held?.madeAtMs ?? NEVER) < revokedAtMs;
      const isMadeBefore = (entry.madeAtMs ?? Number.POSITIVE_INFINITY) < (held?.madeAtMs ?? NEVER);
      if (!isOlder || isMadeBefore || (held?.undoneAtMs ?? NEVER) >= Math.max(revokedAtMs, madeMs(entry))) continue;
      adopted.push(entryId);
      this.#keep(entryId, {
        draft: plain(entry),
        madeAtMs: Math.max(madeMs(entry), ...[held?.madeAtMs, held?.undoneAtMs].map(after)),
        loggedAtMs: revokedAtMs,
        undoneAtMs: undefined,
        unsent: false,
      });
    }
    return adopted;
  }

  async adoptUndo({ entryId, revokedAtMs, madeAtMs }: RevocationEntry): Promise<void> {
    this.#ask();
    const held = this.rows.get(entryId);
    if (held === undefined || held.undoneAtMs !== undefined) return;
    const isKnown = !held.unsent && (held.loggedAtMs ?? held.madeAtMs) <= revokedAtMs;
    if (!(madeAtMs === undefined ? isKnown : held.madeAtMs <= madeAtMs)) return;
    this.rows.set(entryId, { ...held, undoneAtMs: undoneAt(held, NEVER), unsent: false });
  }

  async expire(nowMs: number): Promise<number> {
    this.#ask();
    const before = this.rows.size;
    for (const [entryId, row] of this.rows) {
      const isUndone = !row.unsent && (row.undoneAtMs ?? nowMs) <= nowMs - UNDONE_KEPT_MS;
      if (isUndone || !lives(row, nowMs - KEPT_AFTER_MS)) this.rows.delete(entryId);
    }
    return before - this.rows.size;
  }

  #ask(): void {
    if (this.away) throw storeUnavailable('the durable store is away');
  }

  #keep(entryId: string, row: Row): DurableRevocation {
    this.rows.set(entryId, row);
    return revocationOf(entryId, row);
  }
}

const after = (ms: number | undefined) => (ms ?? NEVER) + 1;
const undoneAt = ({ madeAtMs, loggedAtMs }: Row, nowMs: number) => Math.max(nowMs, madeAtMs, loggedAtMs ?? NEVER);
const capped = (ms: number) => Math.min(ms, LAST_MS);
const lives = ({ draft: { untilMs } }: Row, nowMs: number) => untilMs === 'forever' || untilMs > nowMs;

const isRemembered = ({ kind, issuer, id, reason, untilMs }: RevocationEntry) =>
  [issuer, id, reason].every(isStorable) && (untilMs !== 'forever' || FOREVER_KINDS.has(kind));

/** What the table has columns for. */
function plain({ kind, issuer, id, untilMs, notBeforeMs, reason }: RevocationDraft): RevocationDraft {
  const until = untilMs === 'forever' ? untilMs : capped(untilMs);
  return {
    ...{ kind, issuer, id, untilMs: until },
    ...(notBeforeMs === undefined ? {} : { notBeforeMs: capped(notBeforeMs) }),
    reason,
  };
}

function revocationOf(entryId: string, { draft, madeAtMs, loggedAtMs, undoneAtMs }: Row): DurableRevocation {
  const entry = { ...draft, entryId, seq: 0, revokedAtMs: loggedAtMs ?? madeAtMs };
  return { entry, madeAtMs, undoneAtMs };
}
