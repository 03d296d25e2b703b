// The Redis backend as a whole: its connections, stores, heartbeat and server watch. app.ts opens it when `redis` is set.
//
// The ACL line that Doorward needs (prefix `doorward`), tested in test/faults/redis.test.ts and test/faults/cluster.test.ts:
//   ACL SETUSER doorward on >PASSWORD ~doorward:* &doorward:* -@all +auth +hello +select +ping +info +time +evalsha +eval
//     +get +set +psetex +setrange +del +hget +hset +hdel +hscan +zadd +zrem +zrangebyscore +zremrangebyscore +zcard
//     +lindex +llen +ltrim +lrem +rpush +pexpire +xadd +xrange +xrevrange +publish +subscribe +unsubscribe
//     +wait +asking +cluster|slots +cluster|info
import { randomId } from '../../core/ids.ts';
import type { EphemeralBackend } from '../contracts/health.ts';
import { RedisChecks } from './checks.ts';
import { ClusterLink } from './cluster-link.ts';
import { connect, type Purpose } from './connection.ts';
import { RedisDecisions } from './decisions.ts';
import { type Keyspace, keyspace } from './keyspace.ts';
import { RedisPublished } from './published.ts';
import { startHeartbeat } from './replicas.ts';
import { RedisRevocations } from './revocations.ts';
import { ServerLink } from './server-link.ts';
import { type ServerFacts, watchServer } from './server-watch.ts';
import type { RedisSettings } from './settings.ts';

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
  /** Open connections for commands; those for notices come on top. */
  connections(): number;
}

/** Hooks and test doubles of the backend. */
export interface RedisBackendOptions {
  /** Another server answers than before (a restart, a failover), or keys were evicted: the revocation log must be looked at at once. */
  readonly onReplaced?: (why: 'another_server' | 'evicted') => void;
  readonly instanceId?: string;
  /** Processes of this replica, each of which beats: never fewer are counted. */
  readonly processes?: number;
  /** Time of the revocation log; given only by tests. */
  readonly testNowMs?: () => number;
}

/** The connection or connections of one purpose; `onReplaced` is told when another server answers for the log. */
export function openLink(settings: RedisSettings, purpose: Purpose, names: Keyspace, onReplaced: () => void) {
  const link =
    'cluster' in settings ? new ClusterLink(settings, purpose, names.head) : new ServerLink(settings, purpose);
  link.onReplaced = onReplaced;
  return link;
}

/** Opens the backend; resolves at once, whether Redis answers or not. */
export function openRedis(settings: RedisSettings, options: RedisBackendOptions = {}): RedisBackend {
  const names = keyspace(settings.prefix);
  const onReplaced = options.onReplaced ?? (() => undefined);
  const fast = openLink(settings, 'fast', names, () => onReplaced('another_server'));
  const slow = openLink(settings, 'slow', names, () => undefined);
  const watch = watchServer(slow, () => onReplaced('evicted'));
  const heartbeat = startHeartbeat(slow, names, options.instanceId ?? randomId(), options.processes);
  const addresses = fast instanceof ClusterLink ? () => fast.addresses() : undefined;
  const subscribe = () => connect(settings, 'subscriber', addresses);
  const { testNowMs } = options;
  const log = { fast, slow, names, subscribe, ...(testNowMs && { testNowMs }) };
  const revocations = new RedisRevocations(log);
  const checks = new RedisChecks(fast, names);
  // A connection that became ready has answered its handshake: no traffic is needed to know that the store is back.
  fast.onReady(() => {
    checks.answers = true;
  });
  const timer = setInterval(() => void revocations.sweep().catch(() => undefined), SWEEP_EVERY_MS).unref();
  return {
    name: 'redis',
    checks,
    revocations,
    decisions: new RedisDecisions(slow, names),
    published: new RedisPublished(slow, names, subscribe),
    health: () => {
      const up = fast.ready && fast.answering && checks.answers;
      const problem = fast.problem ?? (checks.answers ? undefined : checks.refusal);
      const warnings = [...watch.warnings(), ...fast.warnings()];
      return { up, warnings, ...(!up && problem !== undefined && { problem }) };
    },
    replicas: () => heartbeat.count(),
    ready: async (waitMs) => (await Promise.all([fast, slow].map((link) => link.becomesReady(waitMs)))).every(Boolean),
    serverFacts: () => watch.facts(),
    refresh: async () => void (await Promise.all([watch.refresh(), heartbeat.beat()])),
    connections: () => fast.connections() + slow.connections(),
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      watch[Symbol.dispose]();
      await heartbeat[Symbol.asyncDispose]();
      fast.close();
      slow.close();
    },
  };
}
