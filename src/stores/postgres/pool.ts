// The pool: a bounded number of connections, a bounded wait for one, transactions that are tried again when they cannot be
// put in an order, and one word for everything that means "PostgreSQL is away". Reconnecting needs nobody: a connection that
// broke is dropped, the next call opens another.
import { setTimeout as delay } from 'node:timers/promises';
import { storeUnavailable } from '../../core/errors.ts';
import type { StoreHealth } from '../contracts/health.ts';
import { type PostgresSettings, quoted, type Sql } from './connection.ts';
import { isConflict, isLostStatement, isStaleStatement, storeError } from './errors.ts';
import { Lease, type TransactionBounds } from './lease.ts';

/** A piece of work inside one transaction. It may run again, so it changes nothing but the database. */
export type Work<T> = (sql: Sql) => Promise<T>;

/** How one call differs from the settings. */
export interface CallOptions {
  /** Longest a statement may run; the whole transaction may take twice as long and a second. */
  readonly timeoutMs?: number;
  /** False: a crash of the server may lose it although the call resolved, and it does not wait for the disk. Default true. */
  readonly durable?: boolean;
}

/** PostgreSQL as aggregates use it. */
export interface Postgres {
  /**
   * Runs `work` in one read committed transaction. `operation` (`clients.get`) labels the metric: a word of the program,
   * never an id. Rejects with `store_unavailable` for trouble with the server or no free connection within the timeout, and
   * with ConstraintViolation for a broken constraint. When the connection is lost during COMMIT nobody knows whether it
   * happened: work should be idempotent.
   */
  run<T>(operation: string, work: Work<T>, options?: CallOptions): Promise<T>;
  /**
   * Like {@link Postgres.run} for work that changes nothing, which PostgreSQL enforces: resolves as soon as it has read,
   * without waiting for COMMIT.
   */
  read<T>(operation: string, work: Work<T>, options?: CallOptions): Promise<T>;
  /** Like {@link Postgres.run}, serializable, and tried again a few times when it collides with another transaction. */
  transact<T>(operation: string, work: Work<T>, options?: CallOptions): Promise<T>;
}

/** What the pool tells its owner. */
export interface PoolHooks {
  /** Every call with its duration, failed ones included. */
  readonly onQuery?: (operation: string, seconds: number) => void;
  /** Prepared statements get lost on the way, and from now on none is used: each call takes a round trip more. */
  readonly onUnprepared?: () => void;
}

const READ_ONLY = 'read committed, read only';
const ATTEMPTS = 6;
const MAX_WAITING = 1000;
const RETIRE_AFTER_MS = 10 * 60_000;

interface Waiter {
  readonly resolve: (lease: Lease) => void;
  readonly reject: (error: Error) => void;
}

/** The pool of one replica. */
export class PostgresPool implements Postgres, AsyncDisposable {
  readonly #settings: PostgresSettings;
  readonly #hooks: PoolHooks;
  readonly #idle: Lease[] = [];
  readonly #waiting = new Set<Waiter>();
  #open = 0;
  #blocked: string | undefined;
  #closed = false;
  #answered = false;
  #prepared = true;
  /** Connections of an earlier generation hold prepared statements that are of no use any more. */
  #generation = 0;

  constructor(settings: PostgresSettings, hooks: PoolHooks = {}) {
    this.#settings = settings;
    this.#hooks = hooks;
  }

  /** Refuses every call with these words until called with undefined: the schema is not what this program needs. */
  block(reason: string | undefined): void {
    this.#blocked = reason;
  }

  /** The same pool for whoever judges whether it may be used: calls are made also while they are blocked. */
  unblocked(): Postgres {
    const call = <T>(isolation: string, operation: string, work: Work<T>, options: CallOptions = {}) =>
      this.#measured(operation, () => this.#exchange(isolation, work, options));
    return {
      run: (operation, work, options) => call('read committed', operation, work, options),
      read: (operation, work, options) => call(READ_ONLY, operation, work, options),
      transact: (operation, work, options) => call('serializable', operation, work, options),
    };
  }

  /** Why calls are refused, if they are. */
  get blocked(): string | undefined {
    return this.#blocked;
  }

  /** `up` while the last exchange succeeded. */
  health(): StoreHealth {
    return { up: this.#answered, warnings: this.#blocked === undefined ? [] : ['postgres_schema'] };
  }

  /** Connections open now, and calls that wait for one. */
  size(): { readonly open: number; readonly idle: number; readonly waiting: number } {
    return { open: this.#open, idle: this.#idle.length, waiting: this.#waiting.size };
  }

  run<T>(operation: string, work: Work<T>, options: CallOptions = {}): Promise<T> {
    return this.#measured(operation, () => this.#attempt('read committed', work, options));
  }

  read<T>(operation: string, work: Work<T>, options: CallOptions = {}): Promise<T> {
    return this.#measured(operation, () => {
      const { promise, resolve, reject } = Promise.withResolvers<T>();
      const reading = this.#attempt(READ_ONLY, (sql) => work(sql).then(resolve), options);
      // Once it is read, how the transaction ends changes nothing.
      reading.catch(reject);
      return promise;
    });
  }

  transact<T>(operation: string, work: Work<T>, options: CallOptions = {}): Promise<T> {
    return this.#measured(operation, async () => {
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await this.#attempt('serializable', work, options);
        } catch (error) {
          if (!isConflict(error) || attempt === ATTEMPTS) throw error;
        }
        // Full jitter: those that collided must not meet again.
        await delay(Math.random() * 5 * 2 ** attempt);
      }
    });
  }

  /** One exchange with the server, whether or not calls are blocked; what it finds shows in {@link PostgresPool.health}. */
  async ping(): Promise<boolean> {
    try {
      await this.#exchange('read committed', (sql) => sql`select 1`, {});
    } catch {
      return false;
    }
    return true;
  }

  /** Ends every idle connection at once and the others when they come back; waiting calls are refused. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const waiter of this.#waiting) waiter.reject(storeUnavailable('PostgreSQL is being closed'));
    this.#waiting.clear();
    await Promise.all(this.#idle.splice(0).map((lease) => lease.end()));
  }

  async #measured<T>(operation: string, call: () => Promise<T>): Promise<T> {
    const began = performance.now();
    try {
      return await call();
    } catch (error) {
      throw storeError(error);
    } finally {
      this.#hooks.onQuery?.(operation, (performance.now() - began) / 1000);
    }
  }

  async #attempt<T>(isolation: string, work: Work<T>, options: CallOptions): Promise<T> {
    if (this.#blocked !== undefined) throw storeUnavailable(this.#blocked);
    return this.#exchange(isolation, work, options);
  }

  async #exchange<T>(isolation: string, work: Work<T>, options: CallOptions): Promise<T> {
    try {
      return await this.#once(isolation, work, options);
    } catch (error) {
      const isLost = isLostStatement(error);
      if (!(isLost || isStaleStatement(error))) throw error;
      this.#forgetStatements(isLost);
    }
    // The statement failed, and with it the whole transaction: nothing has happened yet.
    return this.#once(isolation, work, options);
  }

  #forgetStatements(areLost: boolean): void {
    if (areLost && this.#prepared) {
      this.#prepared = false;
      this.#hooks.onUnprepared?.();
    }
    this.#generation += 1;
    for (const lease of this.#idle.splice(0)) {
      this.#open -= 1;
      void lease.end();
    }
  }

  async #once<T>(isolation: string, work: Work<T>, options: CallOptions): Promise<T> {
    const lease = await this.#lease();
    try {
      const result = await lease.transaction(this.#beginning(isolation, options), work, this.#bounds(options));
      this.#answered = true;
      return result;
    } catch (error) {
      this.#answered = !lease.broken;
      throw error;
    } finally {
      this.#giveBack(lease);
    }
  }

  #beginning(isolation: string, { timeoutMs = this.#settings.timeoutMs, durable = true }: CallOptions): string {
    const ms = Math.ceil(timeoutMs);
    return [
      `begin isolation level ${isolation}`,
      `set local search_path to ${quoted(this.#settings.schema)}`,
      `set local statement_timeout to ${ms}`,
      `set local idle_in_transaction_session_timeout to ${2 * ms + 1000}`,
      ...(durable ? [] : ['set local synchronous_commit to off']),
    ].join('; ');
  }

  #bounds({ timeoutMs = this.#settings.timeoutMs }: CallOptions): TransactionBounds {
    const beginMs = this.#settings.timeoutMs;
    return { beginMs, wholeMs: beginMs + 2 * timeoutMs + 1000 };
  }

  #lease(): Promise<Lease> {
    if (this.#closed) return Promise.reject(storeUnavailable('PostgreSQL is being closed'));
    const idle = this.#idle.pop();
    if (idle !== undefined) return Promise.resolve(idle);
    if (this.#open < this.#settings.connections) {
      this.#open += 1;
      return Promise.resolve(this.#newLease());
    }
    return this.#wait();
  }

  #wait(): Promise<Lease> {
    if (this.#waiting.size >= MAX_WAITING)
      return Promise.reject(storeUnavailable('too many calls wait for PostgreSQL'));
    const { promise, resolve, reject } = Promise.withResolvers<Lease>();
    const waiter = { resolve, reject };
    this.#waiting.add(waiter);
    const timer = setTimeout(() => {
      // First out of the list: a connection must never be given to somebody who has gone.
      this.#waiting.delete(waiter);
      reject(storeUnavailable('no connection to PostgreSQL became free in time'));
    }, this.#settings.timeoutMs);
    return promise.finally(() => clearTimeout(timer));
  }

  #newLease(): Lease {
    return new Lease(this.#settings, { prepared: this.#prepared, generation: this.#generation });
  }

  #giveBack(lease: Lease): void {
    const isOver = lease.ageMs > RETIRE_AFTER_MS || lease.generation !== this.#generation;
    if (lease.broken || this.#closed || isOver) {
      void lease.end();
      this.#open -= 1;
      if (this.#waiting.size === 0 || this.#closed) return;
      this.#open += 1;
      this.#offer(this.#newLease());
    } else this.#offer(lease);
  }

  #offer(lease: Lease): void {
    for (const waiter of this.#waiting) {
      this.#waiting.delete(waiter);
      waiter.resolve(lease);
      return;
    }
    this.#idle.push(lease);
  }
}
