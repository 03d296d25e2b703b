// The Redis backend as a whole: its connections, stores, heartbeat and server watch. app.ts opens it when `redis` is set.
import { randomId } from '../../core/ids.ts';
import type { EphemeralBackend } from '../contracts/health.ts';
import { RedisChecks } from './checks.ts';
import { becomesReady, connect, type RedisSettings } from './connection.ts';
import { RedisDecisions } from './decisions.ts';
import { keyspace } from './keyspace.ts';
import { RedisPublished } from './published.ts';
import { startHeartbeat } from './replicas.ts';
import { RedisRevocations } from './revocations.ts';
import { type ServerFacts, watchServer } from './server-watch.ts';

const SWEEP_EVERY_MS = 60_000;

/** {@link EphemeralBackend} over Redis with its stores. */
export interface RedisBackend extends EphemeralBackend {
  readonly name: 'redis';
  readonly checks: RedisChecks;
  readonly revocations: RedisRevocations;
  readonly decisions: RedisDecisions;
  readonly published: RedisPublished;
  /** Resolves true once connected, false after `waitMs`; it goes on trying either way. */
  ready(waitMs: number): Promise<boolean>;
  /** What the server last said about itself. */
  serverFacts(): ServerFacts | undefined;
  /** Asks the server about itself and beats once, now. */
  refresh(): Promise<void>;
}

/** Hooks and test doubles of the backend. */
export interface RedisBackendOptions {
  /** Another server answers, or keys were evicted: the revocation head must be looked at at once. */
  readonly onReplaced?: () => void;
  readonly instanceId?: string;
  /** Time of the revocation log; given only by tests. */
  readonly testNowMs?: () => number;
}

/** Opens the backend; resolves at once, whether Redis answers or not. */
export function openRedis(settings: RedisSettings, options: RedisBackendOptions = {}): RedisBackend {
  const names = keyspace(settings.prefix);
  const fast = connect(settings, 'fast');
  const slow = connect(settings, 'slow');
  const watch = watchServer(slow, options.onReplaced ?? (() => undefined));
  const heartbeat = startHeartbeat(slow, names, options.instanceId ?? randomId());
  const subscribe = () => connect(settings, 'subscriber');
  const { testNowMs } = options;
  const log = { fast, slow, names, subscribe, ...(testNowMs && { testNowMs }) };
  const revocations = new RedisRevocations(log);
  const checks = new RedisChecks(fast, names);
  // A connection that became ready has answered its handshake: no traffic is needed to know that the store is back.
  fast.on('ready', () => {
    checks.answers = true;
  });
  const timer = setInterval(() => void revocations.sweep().catch(() => undefined), SWEEP_EVERY_MS).unref();
  return {
    name: 'redis',
    checks,
    revocations,
    decisions: new RedisDecisions(slow, names),
    published: new RedisPublished(slow, names, subscribe),
    health: () => ({ up: fast.status === 'ready' && checks.answers, warnings: watch.warnings() }),
    replicas: () => heartbeat.count(),
    ready: async (waitMs) =>
      (await Promise.all([fast, slow].map((redis) => becomesReady(redis, waitMs)))).every(Boolean),
    serverFacts: () => watch.facts(),
    refresh: async () => void (await Promise.all([watch.refresh(), heartbeat.beat()])),
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      watch[Symbol.dispose]();
      await heartbeat[Symbol.asyncDispose]();
      fast.disconnect();
      slow.disconnect();
    },
  };
}
