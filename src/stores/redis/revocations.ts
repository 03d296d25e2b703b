// The revocation log over Redis: a hash of entries, a set of expiries, a capped stream of events and the head. Each change
// is one script; reading everything is a scan between two heads, so that a million entries never block the server.
import type { Redis } from 'ioredis';
import { storeUnavailable } from '../../core/errors.ts';
import { randomId } from '../../core/ids.ts';
import type {
  RevocationDraft,
  RevocationEntry,
  RevocationEvent,
  RevocationHead,
  RevocationLog,
  RevocationSnapshot,
  StoreNotice,
} from '../contracts/revocations.ts';
import { decodeEntry, encodeDraft, encodeUntil, makeEntry } from './entries.ts';
import { badReply } from './errors.ts';
import { parseHead } from './head.ts';
import type { Keyspace } from './keyspace.ts';
import type { Link } from './link.ts';
import { type Notices, watchNotices } from './notices.ts';
import { loadScript } from './scripts.ts';

const EVENTS_KEPT = 10_000;
/** Farther behind than this a snapshot is cheaper. */
const MOST_EVENTS = 5000;
const SCAN_COUNT = 1000;
const REBUILD_COUNT = 500;
const SWEEP_COUNT = 1000;
const SNAPSHOT_ATTEMPTS = 3;

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
    append: loadScript('append'),
    undo: loadScript('undo'),
    since: loadScript('since'),
    rebuild: loadScript('rebuild'),
    sweep: loadScript('sweep'),
  };
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
    const entry = makeEntry(draft, 0, 0);
    const seen = [this.#seen?.epoch ?? '', this.#seen?.seq ?? 0];
    const args = [this.#now(), channel, EVENTS_KEPT, ...seen, entry.entryId, encodeUntil(draft.untilMs)];
    const keys = [head, entries, expiry, log];
    const reply = await this.#slow.replicatedScript(this.#scripts.append, keys, [...args, encodeDraft(draft)]);
    if (reply === null) throw storeUnavailable('there is no revocation log, or it lost its end');
    const [seq, revokedAtMs, epoch] = Array.isArray(reply) ? (reply as unknown[]) : [];
    if (typeof seq !== 'number' || typeof revokedAtMs !== 'number') throw badReply('append');
    this.#sees({ epoch: String(epoch), seq });
    return { ...entry, seq, revokedAtMs };
  }

  async undo(entryId: string): Promise<boolean> {
    const { head, entries, expiry, log, channel } = this.#names;
    const args = [channel, EVENTS_KEPT, entryId];
    const reply = await this.#slow.script(this.#scripts.undo, [head, entries, expiry, log], args);
    if (reply === null) throw storeUnavailable('there is no revocation log');
    return reply === 1;
  }

  async head(): Promise<RevocationHead | undefined> {
    return parseHead(await this.#fast.command('get', this.#names.head));
  }

  async since(head: RevocationHead): Promise<readonly RevocationEvent[] | undefined> {
    const keys = [this.#names.head, this.#names.log];
    const reply = await this.#fast.script(this.#scripts.since, keys, [head.epoch, head.seq, MOST_EVENTS]);
    if (reply === null) return undefined;
    if (!Array.isArray(reply)) throw badReply('since');
    const events = reply.map((fields: unknown, at) => decodeEvent(fields, head.seq + 1 + at));
    this.#sees({ epoch: head.epoch, seq: head.seq + events.length });
    return events;
  }

  async snapshot(): Promise<RevocationSnapshot | undefined> {
    for (let attempt = 0; attempt < SNAPSHOT_ATTEMPTS; attempt += 1) {
      const before = await this.head();
      if (before === undefined) return undefined;
      const held = await this.#scan();
      const events = await this.since(before);
      if (events === undefined) continue;
      for (const event of events) {
        if (event.type === 'put') held.set(event.entry.entryId, event.entry);
        else held.delete(event.entry.entryId);
      }
      return { head: { epoch: before.epoch, seq: before.seq + events.length }, entries: [...held.values()] };
    }
    throw storeUnavailable('the revocation log changes faster than it can be read');
  }

  async rebuild(entries: readonly RevocationEntry[], last: RevocationHead | undefined): Promise<RevocationHead> {
    const { head, entries: hash, expiry, log, channel } = this.#names;
    const seen = [randomId(), last?.epoch ?? '', last?.seq ?? 0, randomId()];
    const common = [this.#now(), channel, EVENTS_KEPT, ...seen];
    let at = 0;
    let reply: unknown;
    do {
      const part = entries.slice(at, at + REBUILD_COUNT);
      at += REBUILD_COUNT;
      const rows = part.flatMap((entry) => [
        entry.entryId,
        encodeUntil(entry.untilMs),
        entry.revokedAtMs,
        encodeDraft(entry),
      ]);
      const final = at >= entries.length ? 1 : 0;
      reply = await this.#slow.script(this.#scripts.rebuild, [head, hash, expiry, log], [...common, final, ...rows]);
    } while (at < entries.length);
    const [epoch, seq, visible] = Array.isArray(reply) ? (reply as unknown[]) : [];
    if (typeof epoch !== 'string' || typeof seq !== 'number') throw badReply('rebuild');
    if (visible !== 1) throw storeUnavailable('another replica is still rebuilding the revocation log');
    this.#sees({ epoch, seq });
    return { epoch, seq };
  }

  watch(onNotice: (notice: StoreNotice) => void): Promise<Notices> {
    return watchNotices(this.#subscribe(), this.#names, () => this.head(), onNotice);
  }

  /** Removes expired entries; answers how many left. One call may leave some for the next. */
  async sweep(): Promise<number> {
    const keys = [this.#names.entries, this.#names.expiry];
    return Number(await this.#slow.script(this.#scripts.sweep, keys, [this.#now(), SWEEP_COUNT]));
  }

  async #scan(): Promise<Map<string, RevocationEntry>> {
    const held = new Map<string, RevocationEntry>();
    const { entries } = this.#names;
    const scan = this.#slow.pinned(entries);
    let cursor = '0';
    do {
      const reply = await scan('hscan', entries, cursor, 'COUNT', SCAN_COUNT);
      const [next, rows] = Array.isArray(reply) ? (reply as unknown[]) : [];
      if (typeof next !== 'string' || !Array.isArray(rows)) throw badReply('hscan');
      for (let row = 1; row < rows.length; row += 2) {
        const entry = decodeEntry(rows[row]);
        held.set(entry.entryId, entry);
      }
      cursor = next;
    } while (cursor !== '0');
    return held;
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
