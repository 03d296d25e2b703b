// The revocation log over Redis: a hash of entries, a set of expiries, a capped stream of events and the head. Each change
// is one script; reading everything is a scan, with the events since it began on top, so that a million entries never block
// the server. A field of the hash marks which epoch it belongs to: without it the entries were lost while the head stayed.
import type { Redis } from 'ioredis';
import { storeUnavailable } from '../../core/errors.ts';
import { randomId } from '../../core/ids.ts';
import { revocationEntryId } from '../contracts/entry-id.ts';
import type {
  EntryBatches,
  RebuiltLog,
  RevocationDraft,
  RevocationEntry,
  RevocationEvent,
  RevocationHead,
  RevocationLog,
  RevocationSnapshot,
  StoreNotice,
} from '../contracts/revocations.ts';
import { KEPT_AFTER_MS, MAX_SEQ } from '../contracts/revocations.ts';
import { decodeEntry, encodeDraft, encodeUntil } from './entries.ts';
import { badReply } from './errors.ts';
import { parseHead } from './head.ts';
import type { Keyspace } from './keyspace.ts';
import type { Link } from './link.ts';
import { type Notices, watchNotices } from './notices.ts';
import { loadScript } from './scripts.ts';

const EVENTS_KEPT = 10_000;
/** Farther behind than this a snapshot is cheaper. */
const MOST_EVENTS = 5000;
const SCAN_COUNT = 500;
const SWEEP_COUNT = 1000;
/** Field of the hash that is no entry; its value is one that earlier releases can read and that refuses nobody. */
const MARK = 'whole';

/** What a Redis log is made of. */
export interface RedisRevocationsOptions {
  /** The connection of the request path: head and catching up. */
  readonly fast: Link;
  /** The connection for everything longer. */
  readonly slow: Link;
  readonly names: Keyspace;
  readonly subscribe: () => Redis;
  /** Given only by tests; otherwise Redis' own time counts. */
  readonly testNowMs?: () => number;
}

/** {@link RevocationLog} over Redis. */
export class RedisRevocations implements RevocationLog {
  readonly #fast: Link;
  readonly #slow: Link;
  readonly #names: Keyspace;
  readonly #subscribe: () => Redis;
  readonly #now: () => number | string;
  readonly #scripts = {
    head: loadScript('head'),
    append: loadScript('append'),
    undo: loadScript('undo'),
    since: loadScript('since'),
    whole: loadScript('whole'),
    rebuild: loadScript('rebuild'),
    sweep: loadScript('sweep'),
    time: loadScript('time'),
  };
  /** By which this process knows a log that it has begun to make, and broke off. */
  readonly #token = randomId();
  #seen: RevocationHead | undefined;

  constructor(options: RedisRevocationsOptions) {
    this.#fast = options.fast;
    this.#slow = options.slow;
    this.#names = options.names;
    this.#subscribe = options.subscribe;
    this.#now = options.testNowMs ?? (() => '');
  }

  async append(draft: RevocationDraft): Promise<RevocationEntry> {
    const { head, entries, expiry, log, channel } = this.#names;
    const entryId = revocationEntryId(draft.kind, draft.issuer, draft.id);
    const seen = [this.#seen?.epoch ?? '', this.#seen?.seq ?? 0];
    const args = [this.#now(), channel, EVENTS_KEPT, ...seen, entryId, encodeUntil(draft.untilMs)];
    const keys = [head, entries, expiry, log];
    const rest = [encodeDraft(draft), MAX_SEQ, KEPT_AFTER_MS, draft.notBeforeMs ?? '', draft.madeAtMs ?? ''];
    const reply = await this.#slow.replicatedScript(this.#scripts.append, keys, [...args, ...rest]);
    if (reply === null) throw storeUnavailable('there is no revocation log, or it lost its end');
    const [epoch, seq, stored] = Array.isArray(reply) ? (reply as unknown[]) : [];
    if (typeof epoch !== 'string' || typeof seq !== 'number') throw badReply('append');
    this.#sees({ epoch, seq });
    return decodeEntry(stored, entryId);
  }

  async undo(entryId: string, upToMs?: number): Promise<RevocationEntry | undefined> {
    const { head, entries, expiry, log, channel } = this.#names;
    if (entryId === MARK) return undefined;
    const args = [channel, EVENTS_KEPT, entryId, MAX_SEQ, upToMs ?? ''];
    const reply = await this.#slow.script(this.#scripts.undo, [head, entries, expiry, log], args);
    if (reply === null) throw storeUnavailable('there is no revocation log');
    return reply === 0 ? undefined : decodeEntry(reply);
  }

  async get(entryId: string): Promise<RevocationEntry | undefined> {
    if (entryId === MARK) return undefined;
    const stored = await this.#slow.command('hget', this.#names.entries, entryId);
    return stored === null ? undefined : decodeEntry(stored);
  }

  async head(): Promise<RevocationHead | undefined> {
    return parseHead(await this.#fast.script(this.#scripts.head, [this.#names.head], []));
  }

  async since(head: RevocationHead): Promise<readonly RevocationEvent[] | undefined> {
    const keys = [this.#names.head, this.#names.log, this.#names.entries];
    const args = [head.epoch, head.seq, MOST_EVENTS, MARK];
    const reply = await this.#fast.script(this.#scripts.since, keys, args);
    if (reply === null) return undefined;
    if (!Array.isArray(reply)) throw badReply('since');
    const events = reply.map((fields: unknown, at) => decodeEvent(fields, head.seq + 1 + at));
    this.#sees({ epoch: head.epoch, seq: head.seq + events.length });
    return events;
  }

  async snapshot(): Promise<RevocationSnapshot | undefined> {
    const keys = [this.#names.head, this.#names.entries];
    const reply = await this.#slow.script(this.#scripts.whole, keys, [this.#now(), MARK, MAX_SEQ, this.#token]);
    if (reply === 'building') throw storeUnavailable('another replica is still rebuilding the revocation log');
    const from = parseHead(reply);
    return from && { from, batches: this.#scan() };
  }

  async rebuild(entries: EntryBatches, last: RevocationHead | undefined, onto?: RevocationHead): Promise<RebuiltLog> {
    const epoch = randomId();
    const first = [epoch, last?.epoch ?? '', last?.seq ?? 0, this.#token];
    let there = onto;
    // The last call is told so, which is known only when no batch follows.
    let rows: (string | number)[] = [];
    const put = async (isLast: number) => {
      const made = await this.#put([...first, isLast, there?.epoch ?? '', there?.seq ?? 0, ...rows]);
      there = made;
      return made;
    };
    for await (const batch of entries) {
      if (rows.length > 0) await put(0);
      rows = batch.flatMap((entry) => [
        entry.entryId,
        encodeUntil(entry.untilMs),
        entry.revokedAtMs,
        encodeDraft(entry),
      ]);
    }
    const made = await put(1);
    const head = { epoch: made.epoch, seq: made.seq };
    this.#sees(head);
    // A node of a Cluster counts its own subscribers only: there may be others.
    return { head, listeners: this.#slow.sharded ? Math.max(1, made.listeners) : made.listeners };
  }

  async timeMs(): Promise<number> {
    const reply = this.#now() || (await this.#slow.script(this.#scripts.time, [this.#names.head], []));
    if (typeof reply !== 'number') throw badReply('time');
    return reply;
  }

  watch(onNotice: (notice: StoreNotice) => void): Promise<Notices> {
    return watchNotices(this.#subscribe(), this.#names, () => this.head(), onNotice);
  }

  /** Removes expired entries; answers how many left. One call may leave some for the next. */
  async sweep(): Promise<number> {
    const keys = [this.#names.entries, this.#names.expiry];
    return Number(await this.#slow.script(this.#scripts.sweep, keys, [this.#now(), SWEEP_COUNT, KEPT_AFTER_MS]));
  }

  /**
   * One call of a rebuild. Who is not the one that makes a log of several calls stops at its first, and who has lost what it put
   * so far begins anew another time.
   */
  async #put(rest: readonly (string | number)[]): Promise<RevocationHead & { readonly listeners: number }> {
    const { head, entries, expiry, log, channel } = this.#names;
    const args = [this.#now(), channel, EVENTS_KEPT, MARK, MAX_SEQ, ...rest];
    const reply = await this.#slow.script(this.#scripts.rebuild, [head, entries, expiry, log], args);
    const [epoch, seq, state, listeners] = Array.isArray(reply) ? (reply as unknown[]) : [];
    if (typeof epoch !== 'string' || typeof seq !== 'number') throw badReply('rebuild');
    if (state === 'lost') throw storeUnavailable('the revocation log was lost again while it was put back');
    if (state === 'building') throw storeUnavailable('another replica is still rebuilding the revocation log');
    return { epoch, seq, listeners: Number(listeners) || 0 };
  }

  async *#scan(): AsyncGenerator<readonly RevocationEntry[]> {
    const { entries } = this.#names;
    const scan = this.#slow.pinned(entries);
    let cursor = '0';
    do {
      const reply = await scan('hscan', entries, cursor, 'COUNT', SCAN_COUNT);
      const [next, rows] = Array.isArray(reply) ? (reply as unknown[]) : [];
      if (typeof next !== 'string' || !Array.isArray(rows)) throw badReply('hscan');
      const batch: RevocationEntry[] = [];
      for (let row = 0; row + 1 < rows.length; row += 2) {
        if (rows[row] !== MARK) batch.push(decodeEntry(rows[row + 1], rows[row]));
      }
      yield batch;
      cursor = next;
    } while (cursor !== '0');
  }

  /** Remembers how far the log was, so that an append never lands in a log that lost its end (lua/append.lua). */
  #sees(head: RevocationHead): void {
    if (this.#seen?.epoch !== head.epoch || this.#seen.seq < head.seq) this.#seen = head;
  }
}

function decodeEvent(fields: unknown, seq: number): RevocationEvent {
  const [type, value] = Array.isArray(fields) ? (fields as unknown[]) : [];
  const entry = decodeEntry(value);
  if (type === 'undo') return { type, entry, seq };
  if (type !== 'put' && type !== 'restore') throw badReply('since');
  if (entry.seq !== seq) throw badReply('since');
  return { type: 'put', entry, restored: type === 'restore' };
}
