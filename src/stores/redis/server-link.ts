// One connection to one server: standalone, the master that Sentinels name, or a node of a Cluster. All tries of one command
// share one timeout.
import type { Redis } from 'ioredis';
import { storeUnavailable } from '../../core/errors.ts';
import { AnswerWatch, remake } from './answer-watch.ts';
import { becomesReady, connect, type Purpose, timeoutOf } from './connection.ts';
import { problemCode, redisCode, storeError } from './errors.ts';
import type { Arguments, Link } from './link.ts';
import { RecentReplicas } from './recent-replicas.ts';
import type { Script } from './scripts.ts';
import { isIsolated } from './sentinel.ts';
import { isReplicated, type NodeAddress, type RedisSettings } from './settings.ts';
import { TimedCommand } from './timed-command.ts';

/** How long a write may wait for a replica to confirm it, on connections that wait so long at all. */
const REPLICA_WAIT_MS = 1000;
/** How often a master is asked which replicas follow it. */
const LOOK_EVERY_MS = 1000;

/** {@link Link} over one connection. */
export class ServerLink implements Link {
  readonly sharded = false;
  readonly guarded: boolean;
  readonly #redis: Redis;
  readonly #watch: AnswerWatch;
  readonly #timeoutMs: number;
  readonly #replicated: boolean;
  readonly #timer: NodeJS.Timeout | undefined;
  /** Digests of scripts whose source went out on this connection. */
  readonly #told = new Set<string>();
  readonly #followers = new RecentReplicas();
  #isolated = false;
  #problem: string | undefined;

  /** `address`: a node of a Cluster; otherwise the settings say where the server is. */
  constructor(settings: RedisSettings, purpose: Purpose, address?: NodeAddress) {
    this.#redis = connect(settings, purpose, address && (() => [address]));
    this.#timeoutMs = timeoutOf(settings, purpose);
    this.#watch = new AnswerWatch(this.#redis, purpose === 'fast', 2 * this.#timeoutMs);
    this.onReplaced = () => undefined;
    this.#replicated = isReplicated(settings);
    this.guarded = 'sentinel' in settings;
    this.#redis.on('error', (error: unknown) => {
      // What follows a refused password (NOAUTH) says less than the refusal.
      const code = problemCode(error);
      if (code !== '' && code !== 'NOAUTH') this.#problem = code;
      else this.#problem ??= code || undefined;
    });
    this.#redis.on('ready', () => {
      this.#isolated = false;
      this.#problem = undefined;
    });
    this.#redis.on('close', () => this.#told.clear());
    if (!this.#replicated || (purpose === 'fast' && !this.guarded)) return;
    this.#redis.on('ready', () => void this.#look());
    this.#timer = setInterval(() => void this.#look(), LOOK_EVERY_MS).unref();
  }

  get ready(): boolean {
    return this.#redis.status === 'ready' && !this.#watch.suspended;
  }

  get answering(): boolean {
    return this.#watch.answering;
  }

  get problem(): string | undefined {
    return this.#problem;
  }

  /** Told when another server answers than before. */
  set onReplaced(listener: () => void) {
    this.#watch.onReplaced = () => {
      this.#followers.forget();
      listener();
    };
  }

  /** Told when the connection ends, and when its server stops answering or begins to. */
  set onChange(listener: () => void) {
    this.#watch.onChange = listener;
    this.#redis.on('close', listener);
  }

  warnings(): readonly string[] {
    return this.#isolated ? ['redis_isolated'] : [];
  }

  command(name: string, key: string, ...rest: Arguments): Promise<unknown> {
    return this.send(name, [key, ...rest], this.#timeoutMs).catch(rethrow);
  }

  pinned(): (name: string, ...args: Arguments) => Promise<unknown> {
    const { stream } = this.#redis;
    return async (name, ...args) => {
      const reply = await this.send(name, args, this.#timeoutMs).catch(rethrow);
      if (this.#redis.stream === stream) return reply;
      throw storeUnavailable('the connection to Redis is another than before');
    };
  }

  script(script: Script, keys: readonly string[], args: Arguments): Promise<unknown> {
    return this.evaluate(script, keys, args, this.#timeoutMs).catch(rethrow);
  }

  async replicatedScript(script: Script, keys: readonly string[], args: Arguments): Promise<unknown> {
    try {
      return await this.evaluateReplicated(script, keys, args, this.#timeoutMs);
    } catch (error) {
      throw storeError(error);
    }
  }

  /** As {@link script}, within `leftMs`, with errors as ioredis gives them; `asking` for a slot that is being moved here. */
  async evaluate(
    { sha, source }: Script,
    keys: readonly string[],
    args: Arguments,
    leftMs: number,
    asking = false,
  ): Promise<unknown> {
    const startedAtMs = performance.now();
    const rest = [keys.length, ...keys, ...args];
    // The first call on a connection brings the source: no round trip is lost to NOSCRIPT after a failover.
    if (this.#told.has(sha)) {
      try {
        return await this.send('evalsha', [sha, ...rest], leftMs, asking);
      } catch (error) {
        if (redisCode(error) !== 'NOSCRIPT') throw error;
      }
    }
    this.#told.add(sha);
    return this.send('eval', [source, ...rest], leftMs - (performance.now() - startedAtMs), asking);
  }

  /** As {@link replicatedScript}, within `leftMs`, with errors as ioredis gives them. */
  async evaluateReplicated(
    script: Script,
    keys: readonly string[],
    args: Arguments,
    leftMs: number,
    asking = false,
  ): Promise<unknown> {
    const startedAtMs = performance.now();
    const { stream } = this.#redis;
    const reply = await this.evaluate(script, keys, args, leftMs, asking);
    if (!this.#replicated) return reply;
    const stillMs = leftMs - (performance.now() - startedAtMs);
    const waitMs = Math.max(1, Math.floor(Math.min(REPLICA_WAIT_MS, stillMs / 2)));
    const wanted = this.#followers.count(performance.now());
    const confirmed = await this.send('wait', [wanted, waitMs], stillMs);
    // WAIT speaks of what its own connection wrote: on a new one it would confirm nothing and say yes.
    if (Number(confirmed) >= wanted && this.#redis.stream === stream) return reply;
    throw storeUnavailable('the replicas of Redis have not confirmed the write');
  }

  /** One command within `leftMs`, with errors as ioredis gives them. */
  send(name: string, args: Arguments, leftMs: number, asking = false): Promise<unknown> {
    if (this.#watch.suspended) return Promise.reject(storeUnavailable('Redis does not answer at present'));
    if (leftMs <= 0) return Promise.reject(storeUnavailable('Redis did not answer in time'));
    const command = new TimedCommand(name, args as (string | number)[], { replyEncoding: 'utf8' });
    if (leftMs < this.#timeoutMs) command.setTimeout(leftMs);
    // ASKING holds for the next command on the connection, and nothing comes between in one turn.
    if (asking) void this.#redis.asking().catch(() => undefined);
    return this.#redis.sendCommand(command) as Promise<unknown>;
  }

  async info(): Promise<ReadonlyMap<string, string>> {
    const text = await this.send('info', [], this.#timeoutMs).catch(rethrow);
    return new Map([['redis', String(text)]]);
  }

  onReady(listener: () => void): void {
    this.#redis.on('ready', listener);
  }

  becomesReady(waitMs: number): Promise<boolean> {
    return becomesReady(this.#redis, waitMs);
  }

  remake(): void {
    remake(this.#redis);
  }

  refusesWrites(_key: string, code: string): void {
    if (code === 'READONLY') this.#watch.readOnly();
    else if (code === 'NOREPLICAS' && this.guarded) void this.#look();
  }

  connections(): number {
    return this.#redis.status === 'ready' ? 1 : 0;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#watch[Symbol.dispose]();
    this.#redis.disconnect();
  }

  /** A master named by Sentinels whose replicas have gone is left at once; the connector takes none like it (sentinel.ts). */
  async #look(): Promise<void> {
    if (this.#redis.status !== 'ready') return;
    try {
      const text = String(await this.send('info', ['replication'], this.#timeoutMs));
      this.#followers.note(text, performance.now());
      if (!this.guarded) return;
      const fields = Object.fromEntries(text.split('\r\n').map((line) => line.split(':', 2)));
      this.#isolated = isIsolated(fields);
      if (this.#isolated || fields.role === 'slave') remake(this.#redis);
    } catch {
      // No answer is seen by the watch of answers; a refusal (NOPERM) leaves what the handshake has found out.
    }
  }
}

function rethrow(error: unknown): never {
  throw storeError(error);
}
