// Everything that is under way upstream: enforces time limits, and ends what may not stay open any longer. One sweep a
// quarter second over all of them costs less than timers for each. What a new configuration says of a stream is standing.ts's.
import type { Reason } from '../core/reasons.ts';
import type { VerifiedToken } from '../token/verified-token.ts';
import type { Exchange } from './exchange.ts';
import type { Generation } from './generation.ts';

/** Something under way. */
export interface OpenExchange {
  /** Monotonic ms after which `expire` is called; Infinity for never. */
  deadlineMs: number;
  /** Place in the registry, which alone writes it; -1 outside. */
  place: number;
  /** Its last judgement: what it was let in by, or by what it was found after a change that it would still be let in. */
  judged: Exchange;
  /** The configuration of that judgement; undefined when it rests on a key that is gone. The registry alone writes it. */
  judgedBy: Generation | undefined;
  /** Version of the client records by which its client was not disabled. The registry alone writes it. */
  recordsVersion: number;
  /** True for upgrades, event streams and answers on routes with `stream: true`. */
  readonly isStream: boolean;
  /** True for streams, and for what still waits for its answer on a route with `stream: true` (long polls). */
  readonly isLasting: boolean;
  /** The url of the endpoint that it is connected to, as configured; undefined while there is none. */
  readonly endpointUrl: string | undefined;
  /** The deadline has passed. */
  expire(): void;
  /** It may not stay open: never ended as if it were complete, except by `draining`. */
  cut(reason: Reason): void;
}

/** Registry of open exchanges. */
export interface OpenExchanges extends Disposable {
  add(exchange: OpenExchange): void;
  remove(exchange: OpenExchange): void;
  readonly size: number;
  /** Keys of an issuer block verify no more: what rests on them is judged anew by the next sweep. */
  doubt(issuerName: string, keyIds: readonly string[]): void;
  /** Ends all streams (drain). */
  cutStreams(): void;
  /** One look at all of them; the timer calls it four times a second. */
  sweep(): void;
  /** Resolves once nothing is under way; never rejects. */
  idle(): Promise<void>;
}

/** What the sweep asks. All of it is asked four times a second and exchange, and must be cheap. */
export interface OpenExchangesOptions {
  readonly nowMs: () => number;
  readonly monotonicMs: () => number;
  readonly isRevoked: (token: VerifiedToken) => boolean;
  /** False when too little is known of revocations to keep anything open for a token. */
  readonly knowsRevocations: () => boolean;
  /** Grows with every change of a client record. */
  readonly recordsVersion: () => number;
  /** The configuration in force. */
  readonly generation: () => Generation;
  /** Asks whether a stream would be let in by `generation`; calls back once with its judgement, at once or later. */
  readonly judge: (
    exchange: OpenExchange,
    generation: Generation,
    done: (judged: Exchange, refusal: Reason | undefined) => void,
  ) => void;
}

const SWEEP_MS = 250;
/** So many judgements in one turn of the event loop: about 3 ms. */
const SLICE = 256;

/** Builds the registry. */
export function openExchanges(options: OpenExchangesOptions): OpenExchanges {
  return new Registry(options);
}

class Registry implements OpenExchanges {
  readonly #options: OpenExchangesOptions;
  // An array with places, not a Set: V8 links the outgrown tables of a Set to their successors, so one dead table in old
  // space keeps every exchange since alive until a full collection. Measured: 16 ms a scavenge instead of 1 ms.
  readonly #open: OpenExchange[] = [];
  readonly #underJudgement = new Set<OpenExchange>();
  readonly #timer: NodeJS.Timeout;
  #waiting: (() => void)[] = [];

  constructor(options: OpenExchangesOptions) {
    this.#options = options;
    // What has arrived is read first: a process that stood still must not end exchanges whose answers lie there.
    this.#timer = setInterval(() => setImmediate(() => this.sweep()), SWEEP_MS).unref();
  }

  get size(): number {
    return this.#open.length;
  }

  add(exchange: OpenExchange): void {
    exchange.place = this.#open.length;
    this.#open.push(exchange);
  }

  remove(exchange: OpenExchange): void {
    const last = this.#open.pop();
    if (last !== undefined && last !== exchange) {
      this.#open[exchange.place] = last;
      last.place = exchange.place;
    }
    exchange.place = -1;
    if (this.#open.length > 0 || this.#waiting.length === 0) return;
    for (const resolve of this.#waiting) resolve();
    this.#waiting = [];
  }

  doubt(issuerName: string, keyIds: readonly string[]): void {
    for (const exchange of this.#open) {
      const principal = exchange.judged.token?.principal;
      if (principal?.issuerName === issuerName && keyIds.includes(principal.keyId)) exchange.judgedBy = undefined;
    }
  }

  cutStreams(): void {
    for (const exchange of this.#open.slice()) if (exchange.isStream && exchange.place >= 0) exchange.cut('draining');
  }

  idle(): Promise<void> {
    return this.#open.length === 0 ? Promise.resolve() : new Promise((resolve) => void this.#waiting.push(resolve));
  }

  sweep(): void {
    const { nowMs, monotonicMs, knowsRevocations, recordsVersion, generation } = this.#options;
    const [now, monotonic, knows, version, current] = [
      nowMs(),
      monotonicMs(),
      knowsRevocations(),
      recordsVersion(),
      generation(),
    ];
    const stale: OpenExchange[] = [];
    for (const exchange of this.#open.slice()) {
      if (exchange.place < 0) continue;
      if (exchange.deadlineMs <= monotonic) {
        exchange.expire();
        continue;
      }
      const reason = this.#endOf(exchange, now, knows, version);
      if (reason !== undefined) exchange.cut(reason);
      else if (exchange.judgedBy !== current && exchange.isLasting && !this.#underJudgement.has(exchange)) {
        this.#underJudgement.add(exchange);
        stale.push(exchange);
      }
    }
    if (stale.length > 0) this.#judge(stale, 0, current);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  /** Why it must end, by what changes without a new configuration. In shadow mode nothing of the caller ends anything. */
  #endOf(exchange: OpenExchange, nowMs: number, knows: boolean, recordsVersion: number): Reason | undefined {
    const { token, route } = exchange.judged;
    if (token === undefined || route?.shadow === true) return undefined;
    if (this.#options.isRevoked(token)) return 'token_revoked';
    if (!exchange.isLasting) return undefined;
    if (token.notAfterMs <= nowMs) return 'token_expired';
    if (!knows) return 'revocations_unavailable';
    if (exchange.recordsVersion === recordsVersion) return undefined;
    exchange.recordsVersion = recordsVersion;
    return isDisabled(exchange.judged) ? 'client_disabled' : undefined;
  }

  #judge(stale: readonly OpenExchange[], from: number, generation: Generation): void {
    const to = Math.min(stale.length, from + SLICE);
    for (let at = from; at < to; at += 1) this.#judgeOne(stale[at] as OpenExchange, generation);
    if (to < stale.length) setImmediate(() => this.#judge(stale, to, generation));
  }

  #judgeOne(exchange: OpenExchange, generation: Generation): void {
    this.#options.judge(exchange, generation, (judged, refusal) => {
      this.#underJudgement.delete(exchange);
      if (exchange.place < 0) return;
      if (refusal !== undefined) {
        exchange.cut(refusal);
        return;
      }
      exchange.judged = judged;
      exchange.recordsVersion = -1;
    });
  }
}

/** True when the record of the client that an exchange runs for says that it is disabled. */
export function isDisabled({ token, route }: Exchange): boolean {
  const client = token?.principal.client;
  if (token === undefined || client === undefined) return false;
  return route?.limits.clients.get(token.principal.issuerName, client)?.disabled ?? false;
}
