// Kept refusals: this replica's own in memory, and all replicas' in a capped stream, so that any of them can answer `why`.
// Sent in bundles a few times a second: a flood of refusals must not become a flood of writes.
import { isStoreUnavailable, storeUnavailable } from '../../core/errors.ts';
import { parseStrictObject } from '../../core/strict-json.ts';
import type { DecisionStore, KeptDecision } from '../contracts/decisions.ts';
import { badReply } from './errors.ts';
import type { Keyspace } from './keyspace.ts';
import type { Link } from './link.ts';

const MAX_DECISIONS = 1000;
const BUNDLE_MS = 100;
/** What a flood has beyond this is in the log and in this replica's memory only. */
const MAX_BUNDLE = 100;

/** {@link DecisionStore} over Redis, capped at about 1,000 in all and 1,000 of this replica. */
export class RedisDecisions implements DecisionStore {
  readonly #link: Link;
  readonly #names: Keyspace;
  readonly #own: KeptDecision[] = [];
  #next = 0;
  #bundle: KeptDecision[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(link: Link, names: Keyspace) {
    this.#link = link;
    this.#names = names;
  }

  keep(decision: KeptDecision): void {
    this.#own[this.#next] = decision;
    this.#next = (this.#next + 1) % MAX_DECISIONS;
    if (this.#bundle.length >= MAX_BUNDLE || !this.#link.ready) return;
    this.#bundle.push(decision);
    this.#timer ??= setTimeout(() => this.#send(), BUNDLE_MS).unref();
  }

  async find(filter: Readonly<Record<string, string>>, limit: number): Promise<readonly KeptDecision[]> {
    const wanted = Object.entries(filter);
    const matches = (decision: KeptDecision) => wanted.every(([name, value]) => decision[name] === value);
    const own = this.#newestFirst().filter(matches);
    if (filter.request_id !== undefined && own.length > 0) return own.slice(0, limit);
    const known = new Set(own.map((decision) => decision.request_id));
    const others = (await this.#stream(filter)).filter(
      (decision) => matches(decision) && !known.has(decision.request_id),
    );
    const all = [...own, ...others].sort((a, b) => String(b.time).localeCompare(String(a.time)));
    return all.slice(0, limit);
  }

  #newestFirst(): KeptDecision[] {
    return [...this.#own.slice(this.#next), ...this.#own.slice(0, this.#next)].reverse();
  }

  #send(): void {
    this.#timer = undefined;
    const bundle = this.#bundle;
    this.#bundle = [];
    for (const decision of bundle) {
      const rest = ['MAXLEN', '~', MAX_DECISIONS, '*', 'd', JSON.stringify(decision)];
      // Nobody waits for it: a refusal that could not be kept is still in the log.
      this.#link.command('xadd', this.#names.decisions, ...rest).catch(() => undefined);
    }
  }

  async #stream({ request_id: one }: Readonly<Record<string, string>>): Promise<KeptDecision[]> {
    const asked = this.#link.command('xrevrange', this.#names.decisions, '+', '-', 'COUNT', 2 * MAX_DECISIONS);
    const rows = await asked.catch((cause) => {
      if (one === undefined || !isStoreUnavailable(cause)) throw cause;
      const message = 'this replica keeps no such refusal; those of the others are in Redis, which does not answer';
      throw storeUnavailable(message, { cause });
    });
    if (!Array.isArray(rows)) throw badReply('xrevrange');
    return rows.map((row: unknown) => decode(row)).filter((decision) => decision !== undefined);
  }
}

/** Undefined for what no release of ours writes: one bad entry must not hide the others. */
function decode(row: unknown): KeptDecision | undefined {
  const [, fields] = Array.isArray(row) ? (row as unknown[]) : [];
  const [, text] = Array.isArray(fields) ? (fields as unknown[]) : [];
  const decision = parseStrictObject(Buffer.from(typeof text === 'string' ? text : ''));
  return typeof decision?.request_id === 'string' ? (decision as unknown as KeptDecision) : undefined;
}
