// Step 8: revoked? and all limits, in one round trip for all requests of an event-loop turn. Collects, asks the store once,
// and decides each request by the answer; when the store is away, by what the configuration says for that case.
import type { Clock } from '../../core/clock.ts';
import type { ShownLimit } from '../../core/explanation.ts';
import type { Reason } from '../../core/reasons.ts';
import type { LimitCharge } from '../../limits/compile.ts';
import { type ConcurrentSlot, InFlight } from '../../limits/concurrent.ts';
import type { DeniedKeys } from '../../limits/denied.ts';
import { isRefused, limitFields } from '../../limits/fields.ts';
import type { LocalLimits } from '../../limits/local.ts';
import { chargesFor, LimitMemo, type RequestCharges } from '../../limits/plan.ts';
import type { RevocationFollower } from '../../revocation/follower.ts';
import type { RevocationIndex } from '../../revocation/index.ts';
import type { Charge, CheckReply, CheckStore, RateStates } from '../../stores/contracts/checks.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import type { VerifiedToken } from '../../token/verified-token.ts';
import type { Exchange } from '../exchange.ts';
import type { Route } from '../inbound/route.ts';
import { type Resume, type StageResult, waiting } from '../stage.ts';
import { LimitTallies } from './limit-tallies.ts';

/** The check stage; one for the whole data plane, over all generations. */
export interface CheckGate {
  check(exchange: Exchange, resume: Resume): StageResult;
  /** The limits that applied to an exchange, for `explain`. */
  shown(exchange: Exchange): readonly ShownLimit[];
  /** What the exchange had under way is over; calling again does nothing. */
  leave(exchange: Exchange): void;
  /** True when the token is revoked by what this replica knows. */
  isRevoked(token: VerifiedToken): boolean;
}

/** What the gate asks. */
export interface CheckGateOptions {
  readonly clock: Clock;
  readonly store: CheckStore;
  /** True when `store` answers over a network: then requests of one turn are collected into one call. */
  readonly batched: boolean;
  readonly local: LocalLimits;
  readonly denied: DeniedKeys;
  readonly follower: RevocationFollower;
  readonly index: RevocationIndex;
  readonly metrics: Metrics;
}

/** At most this many requests go into one call. */
const MAX_BATCH = 256;
const UNCHARGED: RequestCharges = { charges: [], slots: undefined, policy: '', disabled: false };

/** Builds the gate. */
export function checkGate(options: CheckGateOptions): CheckGate {
  return new Gate(options);
}

class Gate implements CheckGate {
  readonly #options: CheckGateOptions;
  readonly #tallies: LimitTallies;
  readonly #inFlight = new InFlight();
  #exchanges: Exchange[] = [];
  #requests: (readonly Charge[])[] = [];
  #resume: Resume = () => {};

  constructor(options: CheckGateOptions) {
    this.#options = options;
    this.#tallies = new LimitTallies(options.metrics.rateLimit);
  }

  check(exchange: Exchange, resume: Resume): StageResult {
    this.#resume = resume;
    const wanted = requestedCharges(exchange);
    if (wanted.disabled) return 'client_disabled';
    // A token that is known to be revoked only asks whether it still is: whoever stole it must not use up its client's quota.
    const requested = exchange.token !== undefined && this.isRevoked(exchange.token) ? UNCHARGED : wanted;
    const { charges, slots } = requested;
    if (slots !== undefined && !this.#enter(exchange, requested, slots)) return 'concurrency_exceeded';
    if (charges.length === 0 && exchange.token === undefined) return undefined;
    exchange.charges = requested;
    if (exchange.kind === 'explain') return this.#explain(exchange, charges);
    const { denied, follower, batched } = this.#options;
    const known = denied.refuses(charges);
    if (known !== undefined) {
      return this.#decideRevocation(exchange, follower.state() === 'ready') ?? this.#refuseLimits(exchange, known);
    }
    return batched ? this.#collect(exchange, charges) : this.#ask(exchange, charges);
  }

  leave(exchange: Exchange): void {
    const { held } = exchange;
    if (held === undefined) return;
    exchange.held = undefined;
    this.#inFlight.leave(held);
  }

  shown(exchange: Exchange): readonly ShownLimit[] {
    const slots = exchange.charges?.slots ?? [];
    const underWay = slots.map((slot): ShownLimit => {
      const count = this.#inFlight.count(slot);
      return { limit: slot.limit.name, remaining: Math.max(0, slot.limit.most - count), reset_ms: 0, under_way: count };
    });
    return [...this.#shownRates(exchange), ...underWay];
  }

  #shownRates({ charges, rateStates, countedLocally }: Exchange): readonly ShownLimit[] {
    if (charges === undefined || rateStates === undefined) return [];
    const shares = countedLocally ? this.#options.local.shares(charges.charges) : [];
    const names = charges.charges.flatMap((charge) => charge.names);
    return names.flatMap((limit, at) => {
      const remaining = rateStates[2 * at] as number;
      if (Number.isNaN(remaining)) return [];
      const share = shares[at] === undefined ? {} : { local_share: shares[at] };
      return [{ limit, remaining: Math.max(0, remaining), reset_ms: rateStates[2 * at + 1] as number, ...share }];
    });
  }

  isRevoked(token: VerifiedToken): boolean {
    const { index, follower } = this.#options;
    const { generation } = index;
    if (token.clearedAt === generation) return false;
    if (index.isRefused(token.principal, follower.time.steadyMs())) return true;
    token.clearedAt = generation;
    return false;
  }

  /** Takes the caller's room for this request, before rates are charged; false when there is none. Explaining takes nothing. */
  #enter(exchange: Exchange, requested: RequestCharges, slots: readonly ConcurrentSlot[]): boolean {
    // The caller of a verdict holds the request, and only it knows when that ends.
    if (exchange.kind === 'verdict') return true;
    exchange.charges = requested;
    const explains = exchange.kind === 'explain';
    if (!explains) this.#tallies.entered(slots, this.#inFlight);
    const full = this.#inFlight.full(slots);
    if (full === undefined) {
      if (explains) return true;
      exchange.held = slots;
      this.#inFlight.enter(slots);
      return true;
    }
    exchange.details = { retryAfter: 1, violatedPolicies: [full.name] };
    exchange.rule = `limits ${full.name}`;
    return false;
  }

  /** A store in this process: the whole path stays synchronous. */
  #ask(exchange: Exchange, charges: readonly Charge[]): StageResult {
    const { store, follower } = this.#options;
    const reply = store.check([charges]) as CheckReply;
    const state = follower.observe(reply.head);
    if (state === 'current') return this.#settle(exchange, true, reply.results[0]);
    void state.then((reached) => this.#settleLater(exchange, reached === 'current', reply.results[0]));
    return waiting;
  }

  #collect(exchange: Exchange, charges: readonly Charge[]): StageResult {
    this.#requests.push(charges);
    if (this.#exchanges.push(exchange) === 1) setImmediate(() => this.#flush());
    return waiting;
  }

  #flush(): void {
    const exchanges = this.#exchanges;
    const requests = this.#requests;
    this.#exchanges = [];
    this.#requests = [];
    if (exchanges.length <= MAX_BATCH) {
      this.#send(exchanges, requests);
      return;
    }
    for (let from = 0; from < exchanges.length; from += MAX_BATCH) {
      this.#send(exchanges.slice(from, from + MAX_BATCH), requests.slice(from, from + MAX_BATCH));
    }
  }

  #send(exchanges: readonly Exchange[], requests: readonly (readonly Charge[])[]): void {
    const { clock, store, follower, metrics } = this.#options;
    const startedAtMs = clock.monotonicMs();
    metrics.storeBatches.inc();
    metrics.storeBatch.inc(exchanges.length);
    const settleAll = (current: boolean, reply: CheckReply | undefined) => {
      for (let at = 0; at < exchanges.length; at += 1) {
        this.#settleLater(exchanges[at] as Exchange, current, reply?.results[at]);
      }
    };
    (store.check(requests) as Promise<CheckReply>).then(
      (reply) => {
        const askedMs = clock.monotonicMs() - startedAtMs;
        metrics.storeSeconds.observe(askedMs / 1000);
        const state = reply.headAway ? 'lost' : follower.observe(reply.head, askedMs);
        if (state === 'lost') settleAll(false, reply);
        else if (state === 'current') settleAll(true, reply);
        else void state.then((reached) => settleAll(reached === 'current', reply));
      },
      () => settleAll(false, undefined),
    );
  }

  #settleLater(exchange: Exchange, current: boolean, result: RateStates | Error | undefined): void {
    const settled = this.#settle(exchange, current, result);
    if (settled !== waiting) this.#resume(exchange, settled);
  }

  #settle(exchange: Exchange, current: boolean, result: RateStates | Error | undefined): StageResult {
    if (Array.isArray(result)) return this.#decide(exchange, current, result);
    const refused = this.#decideRevocation(exchange, current);
    const charges = exchange.charges?.charges ?? [];
    if (refused !== undefined || charges.length === 0) return refused;
    this.#options.local.decide(charges).then(
      (states) =>
        this.#resume(exchange, states === 'deny' ? 'limits_unavailable' : this.#decideLimits(exchange, states)),
      () => this.#resume(exchange, 'limits_unavailable'),
    );
    return waiting;
  }

  /** The revocation answer comes first: a revoked token learns nothing of limits. */
  #decide(exchange: Exchange, current: boolean, states: RateStates): Reason | undefined {
    return this.#decideRevocation(exchange, current) ?? this.#decideLimits(exchange, states);
  }

  #decideRevocation({ token }: Exchange, current: boolean): Reason | undefined {
    if (token === undefined) return undefined;
    if (this.isRevoked(token)) return 'token_revoked';
    return current || this.#options.follower.policy() === 'index' ? undefined : 'revocations_unavailable';
  }

  #decideLimits(exchange: Exchange, states: RateStates): Reason | undefined {
    const charges = (exchange.charges as RequestCharges).charges;
    if (charges.length === 0) return undefined;
    exchange.rateStates = states;
    this.#tallies.charged(charges, states);
    if (!isRefused(charges, states)) return undefined;
    this.#options.denied.remember(charges, states);
    return this.#refuseLimits(exchange, states);
  }

  #refuseLimits(exchange: Exchange, states: RateStates): Reason {
    const charges = (exchange.charges as RequestCharges).charges;
    exchange.rateStates = states;
    const { retryAfter, violated } = limitFields(charges, states);
    exchange.details = { retryAfter, violatedPolicies: violated };
    exchange.rule = `limits ${violated.join(', ')}`;
    return 'rate_limited';
  }

  /** Looks at the limits without charging them; at this replica's own share while the store is away. */
  #explain(exchange: Exchange, charges: readonly LimitCharge[]): StageResult {
    Promise.all(charges.map((charge) => this.#options.store.peek(charge))).then(
      (states) => this.#resume(exchange, this.#decide(exchange, true, states.flat())),
      () => void this.#explainLocally(exchange, charges),
    );
    return waiting;
  }

  async #explainLocally(exchange: Exchange, charges: readonly LimitCharge[]): Promise<void> {
    const refused = this.#decideRevocation(exchange, false);
    const states = refused === undefined ? await this.#options.local.look(charges) : undefined;
    exchange.countedLocally = true;
    if (states === 'deny') this.#resume(exchange, 'limits_unavailable');
    else this.#resume(exchange, states === undefined ? refused : this.#decideLimits(exchange, states));
  }
}

function requestedCharges({ route, client, token, preflight }: Exchange): RequestCharges {
  const { limits } = route as Route;
  const plan = preflight ? (limits.forPreflights ?? limits) : limits;
  if (token === undefined) return chargesFor(plan, client.address, client.key, undefined, undefined);
  token.limitMemo ??= new LimitMemo();
  return chargesFor(plan, client.address, client.key, token.principal, token.limitMemo as LimitMemo);
}
