// PostgreSQL as a whole: the pool, and the keeper that brings the schema up to date before anything may use it, notices when
// the server goes away and comes back, and says what state it is in. The composition root opens it when `postgres` is set.
import type { Clock } from '../../core/clock.ts';
import { SidecarError } from '../../core/errors.ts';
import type { PostgresSettings } from './connection.ts';
import { type MigrateOptions, migrate, schemaStatus } from './migrate.ts';
import { type Migration, SchemaRefused } from './migrations.ts';
import { type PoolHooks, type Postgres, PostgresPool } from './pool.ts';

/** What can be said about it: `down` no server, `refused` a schema that this program may not use, with the reason. */
export type PostgresState =
  | { readonly status: 'up' }
  | { readonly status: 'down'; readonly problem: string }
  | { readonly status: 'refused'; readonly problem: string };

/** How it is opened. */
export interface BackendOptions extends PoolHooks {
  readonly settings: PostgresSettings;
  readonly clock: Pick<Clock, 'nowMs'>;
  /** Version of this program. */
  readonly release: string;
  /** `never`: missing migrations are left to `doorward migrate`, and every call is refused until then. */
  readonly migrate: 'start' | 'never';
  /** Default: those that the program brings. */
  readonly migrations?: readonly Migration[];
  /**
   * Judges a server whose schema is right before anything else may use it. What it rejects with becomes the state: `down` for
   * `store_unavailable`, else `refused`.
   */
  readonly admit?: (server: Postgres) => Promise<void>;
  /** Told of every change of the state. */
  readonly onState?: (state: PostgresState) => void;
  /** Told what a start applied. */
  readonly onMigrated?: (migrations: readonly Migration[]) => void;
}

/** PostgreSQL with its keeper. */
export interface PostgresBackend extends AsyncDisposable {
  readonly pool: PostgresPool;
  state(): PostgresState;
  /** Resolves true once calls are allowed, false once they are refused or after `waitMs`; it goes on trying either way. */
  ready(waitMs: number): Promise<boolean>;
  /** Calls `task` whenever calls become allowed again after a while without, and now when they are. */
  onReady(task: () => void): void;
}

const RETRY_MS = 250;
const WATCH_MS = 2000;

/** Opens it; returns at once, whether PostgreSQL answers or not. */
export function openPostgres(options: BackendOptions): PostgresBackend {
  return new Keeper(options);
}

class Keeper implements PostgresBackend {
  readonly pool: PostgresPool;
  readonly #options: BackendOptions;
  readonly #tasks: (() => void)[] = [];
  readonly #waiting = new Set<(isUp: boolean) => void>();
  readonly #running: Promise<void>;
  #state: PostgresState = { status: 'down', problem: 'PostgreSQL has not answered yet' };
  #closing = Promise.withResolvers<void>();
  #closed = false;

  constructor(options: BackendOptions) {
    this.#options = options;
    this.pool = new PostgresPool(options.settings, options);
    this.pool.block('PostgreSQL has not answered yet');
    this.#running = this.#keep();
  }

  state(): PostgresState {
    return this.#state;
  }

  onReady(task: () => void): void {
    this.#tasks.push(task);
    if (this.#state.status === 'up') task();
  }

  async ready(waitMs: number): Promise<boolean> {
    if (this.#state.status !== 'down') return this.#state.status === 'up';
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(resolve, waitMs, false);
    this.#waiting.add(resolve);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(resolve);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#closing.resolve();
    await this.pool[Symbol.asyncDispose]();
    await this.#running;
  }

  async #keep(): Promise<void> {
    while (!this.#closed) {
      if (this.#state.status !== 'up') await this.#prepare();
      else if (!(await this.pool.ping())) this.#become({ status: 'down', problem: 'PostgreSQL does not answer' });
      await this.#pause(this.#state.status === 'up' ? WATCH_MS : RETRY_MS);
    }
  }

  /** Also after every absence: what comes back may be another server, restored to an older state. */
  async #prepare(): Promise<void> {
    try {
      const done = await this.#ensureSchema();
      if (this.#closed) return;
      if (done.length > 0) this.#options.onMigrated?.(done);
      await this.#options.admit?.(this.pool.unblocked());
      if (this.#closed) return;
      this.#become({ status: 'up' });
    } catch (error) {
      const problem = error instanceof Error ? error.message : 'PostgreSQL cannot be used';
      const away = error instanceof SidecarError && error.kind === 'store_unavailable';
      this.#become({ status: away ? 'down' : 'refused', problem });
    }
  }

  async #ensureSchema(): Promise<readonly Migration[]> {
    const { settings, clock, release, migrations } = this.#options;
    const options: MigrateOptions = { settings, clock, release, ...(migrations && { migrations }) };
    const { pending } = await schemaStatus(options);
    if (pending.length === 0) return [];
    if (this.#options.migrate === 'start') return migrate(options);
    const names = pending.map(({ number, name }) => `${number} (${name})`).join(', ');
    throw new SchemaRefused(`migrations are pending, run \`doorward migrate\`: ${names}`);
  }

  #become(state: PostgresState): void {
    const before = this.#state;
    this.#state = state;
    this.pool.block(state.status === 'up' ? undefined : state.problem);
    const problem = (of: PostgresState) => (of.status === 'up' ? '' : of.problem);
    if (before.status !== state.status || problem(before) !== problem(state)) this.#options.onState?.(state);
    if (state.status === 'up' && before.status !== 'up') for (const task of [...this.#tasks]) task();
    if (state.status !== 'down') for (const resolve of this.#waiting) resolve(state.status === 'up');
  }

  async #pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms).unref();
    await Promise.race([promise, this.#closing.promise]);
    clearTimeout(timer);
  }
}
