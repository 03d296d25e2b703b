// Says in the log what becomes of Redis, of what is known of revocations, and of readiness. It compares what /readyz would
// answer with what it answered a second ago, off the request path. What comes and goes is one line until it has stayed away for
// three seconds. PostgreSQL, the audit log, keys and upstreams speak for themselves where they are opened.
import { type ReadinessFacts, readinessOf } from '../admin/readiness.ts';
import type { Clock } from '../core/clock.ts';
import type { LogChange } from '../revocation/losses.ts';
import type { Log } from '../telemetry/log.ts';

const LOOK_MS = 1000;
/** Gone for so long before it counts as over. */
const CALM_MS = 3000;

/** Warnings of a store that somebody must act on before revocations are lost; the others say that less is served. */
const URGENT: ReadonlySet<string> = new Set(['redis_eviction_policy', 'redis_evicted_keys', 'redis_memory']);

/** Something that is not as it should be; `what` tells it from the others, another `detail` is said anew. */
interface Trouble {
  readonly what: 'store' | 'warning' | 'unknown' | 'not_ready';
  readonly detail: string;
  begins(log: Log): void;
  ends(log: Log, lastedMs: number): void;
}

/** A trouble that was said and is not over; `goneAtMs`: not seen since then. */
interface Standing {
  readonly trouble: Trouble;
  readonly sinceMs: number;
  goneAtMs: number | undefined;
}

/** The lines of one replica; its primary process has it, not its workers. */
export class HealthLog implements Disposable {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #standing = new Map<string, Standing>();
  #looking: NodeJS.Timeout | undefined;
  #told = false;

  constructor(log: Log, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** Looks now and every second from now on. */
  follow(facts: () => ReadinessFacts): void {
    if (facts().components.store?.detail?.backend === 'memory') this.#log.warn({ store: 'memory' }, 'store_memory');
    this.look(facts());
    this.#looking = setInterval(() => this.look(facts()), LOOK_MS).unref();
  }

  /** Compares with the last look. */
  look(facts: ReadinessFacts): void {
    const nowMs = this.#clock.monotonicMs();
    const seen = new Map(troublesOf(facts).map((trouble) => [keyOf(trouble), trouble]));
    for (const [key, trouble] of seen) this.#note(key, trouble, nowMs);
    for (const [key, standing] of this.#standing) {
      if (seen.has(key)) continue;
      standing.goneAtMs ??= nowMs;
      if (nowMs - standing.goneAtMs < CALM_MS) continue;
      this.#standing.delete(key);
      standing.trouble.ends(this.#log, Math.round(standing.goneAtMs - standing.sinceMs));
    }
    if (!this.#told && !seen.has('not_ready')) this.#log.info({}, 'ready');
    this.#told = true;
  }

  /** Another Redis answers than the one before, by its run id. */
  serverReplaced(): void {
    this.#log.warn({ store: 'redis' }, 'store_replaced');
  }

  /** What the follower of the revocation log noticed. */
  logChanged(change: LogChange): void {
    const { entries } = change;
    if (change.type === 'lost') this.#log.warn({ entries }, 'revocations_lost');
    else if (change.type === 'filled') this.#log.warn({ entries }, 'revocations_from_postgres');
    else this.#log.info({ entries, added: change.added, took_ms: change.tookMs }, 'revocations_rebuilt');
  }

  [Symbol.dispose](): void {
    clearInterval(this.#looking);
  }

  #note(key: string, trouble: Trouble, nowMs: number): void {
    const before = this.#standing.get(key);
    if (before?.trouble.detail === trouble.detail) {
      before.goneAtMs = undefined;
      return;
    }
    this.#standing.set(key, { trouble, sinceMs: before?.sinceMs ?? nowMs, goneAtMs: undefined });
    trouble.begins(this.#log);
  }
}

/** Warnings stand beside one another; of the others there is one. */
const keyOf = ({ what, detail }: Trouble) => (what === 'warning' ? detail : what);

function troublesOf(facts: ReadinessFacts): Trouble[] {
  const { store, revocations } = facts.components;
  // Workers end while draining: that adds nothing to what an operator has to know.
  const { reasons } = facts.draining ? { reasons: ['draining'] } : readinessOf(facts).body;
  const warnings = (store?.detail?.warnings ?? []) as readonly string[];
  const troubles = warnings.filter((warning) => warning !== 'memory_store').map(warned);
  if (store?.status === 'down') troubles.push(away(store.detail?.problem));
  // Before the first loading it is a reason for not being ready.
  if (facts.revocationsLoaded && revocations?.status !== 'up' && revocations?.detail?.state === 'unknown')
    troubles.push(outdated);
  if (reasons.length > 0) troubles.push(notReady(reasons));
  return troubles;
}

/** One line an outage: what Redis says meanwhile (LOADING, for one) is no other one. */
const away = (problem: unknown): Trouble => ({
  what: 'store',
  detail: '',
  begins: (log) => log.warn({ store: 'redis', problem }, 'store_down'),
  ends: (log, lastedMs) => log.info({ store: 'redis', away_ms: lastedMs }, 'store_up'),
});

const outdated: Trouble = {
  what: 'unknown',
  detail: '',
  begins: (log) => log.error({}, 'revocations_unknown'),
  ends: (log, lastedMs) => log.info({ unknown_ms: lastedMs }, 'revocations_known'),
};

function warned(warning: string): Trouble {
  return {
    what: 'warning',
    detail: warning,
    begins: (log) => {
      const line = { store: 'redis', warning };
      if (URGENT.has(warning)) log.error(line, 'store_warning');
      else log.warn(line, 'store_warning');
    },
    ends: (log, lastedMs) => log.info({ store: 'redis', warning, lasted_ms: lastedMs }, 'store_warning_over'),
  };
}

function notReady(reasons: readonly string[]): Trouble {
  return {
    what: 'not_ready',
    detail: reasons.join(),
    begins: (log) => {
      if (reasons.includes('draining')) log.info({ reasons }, 'not_ready');
      else log.warn({ reasons }, 'not_ready');
    },
    ends: (log, lastedMs) => log.info({ not_ready_ms: lastedMs }, 'ready'),
  };
}
