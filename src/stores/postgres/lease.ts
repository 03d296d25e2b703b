// One connection in the hands of one transaction. The driver would reconnect in the middle of it and run the rest outside of
// any transaction; here a connection that broke stays broken, and one that does not answer is given up.
import { storeUnavailable } from '../../core/errors.ts';
import { PeerTimeout } from '../../core/peer-timeout.ts';
import { type Client, openClient, type PostgresSettings, type Sql } from './connection.ts';
import { isOrderly } from './errors.ts';

/** How long PostgreSQL may take, in ms. */
export interface TransactionBounds {
  /** To answer BEGIN on a connection that stands; as long again where one has to be made, which the driver bounds likewise. */
  readonly beginMs: number;
  /** For the whole transaction. */
  readonly wholeMs: number;
}

/** Resolves once BEGIN was answered, with what went wrong. */
type Begun = Promise<{ readonly error: unknown } | undefined>;

/** A connection of the pool. Used by one transaction at a time. */
export class Lease {
  readonly #client: Client;
  readonly #madeMs = performance.now();
  readonly #sql: Sql;
  #broken = false;
  #stands = false;
  #ended: Promise<void> | undefined;

  /** Of the pool, when it was made. */
  readonly generation: number;

  /** `prepared`: as the client's options have it. */
  constructor(
    settings: PostgresSettings,
    { prepared, generation }: { readonly prepared: boolean; readonly generation: number },
  ) {
    this.generation = generation;
    const onClose = () => {
      this.#broken = true;
    };
    this.#client = openClient(settings, { onClose, prepared });
    this.#sql = guarded(this.#client, () => {
      if (this.#broken) throw storeUnavailable('the connection to PostgreSQL broke');
    });
  }

  /** True once the connection was lost or given up; it is not used again. */
  get broken(): boolean {
    return this.#broken;
  }

  /** Ms since it was made. */
  get ageMs(): number {
    return performance.now() - this.#madeMs;
  }

  /**
   * `beginning` (BEGIN and its settings in one message), `work`, COMMIT; ROLLBACK when work rejects. Rejects with what went
   * wrong first. Beyond its bounds the connection is given up, wherever the transaction stood.
   */
  async transaction<T>(
    beginning: string,
    work: (sql: Sql) => Promise<T>,
    { beginMs, wholeMs }: TransactionBounds,
  ): Promise<T> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const giveUp = () => {
      void this.end();
      reject(storeUnavailable('PostgreSQL did not answer in time'));
    };
    const toEnd = new PeerTimeout(wholeMs, giveUp);
    const begun = this.#begin(beginning);
    const toBegin = new PeerTimeout(this.#stands ? beginMs : 2 * beginMs, giveUp);
    void begun.then(() => toBegin.clear());
    const whole = this.#whole(work, begun);
    // When a bound won, what becomes of the rest is nobody's concern.
    whole.catch(() => undefined);
    try {
      return await Promise.race([whole, late]);
    } finally {
      toEnd.clear();
      toBegin.clear();
    }
  }

  /** Closes the connection, at once; a statement under way fails. */
  end(): Promise<void> {
    this.#broken = true;
    this.#ended ??= this.#client.end({ timeout: 0 }).catch(() => undefined);
    return this.#ended;
  }

  /**
   * Sent and not waited for: the first statement follows in the same round trip. Were BEGIN refused alone, that statement would
   * find no table, because BEGIN also sets the search_path; and the connection is given up.
   */
  #begin(beginning: string): Begun {
    return this.#client.unsafe(beginning).then(
      () => {
        this.#stands = true;
        return undefined;
      },
      (error: unknown) => {
        this.#broken = true;
        return { error };
      },
    );
  }

  async #whole<T>(work: (sql: Sql) => Promise<T>, begun: Begun): Promise<T> {
    try {
      const result = await this.#worked(work, begun);
      const { command } = await this.#sql.unsafe('commit');
      if (command !== 'COMMIT') throw this.#notCommitted(command);
      return result;
    } catch (error) {
      // Whatever is read next on a connection that is out of order may be the answer to something else.
      if (!isOrderly(error)) void this.end();
      await this.#rollback();
      throw error;
    }
  }

  /** What a COMMIT that was answered with `command` means. */
  #notCommitted(command: string): Error {
    // So PostgreSQL answers, without an error, where a statement had failed whose error nobody passed on.
    if (command === 'ROLLBACK')
      return new TypeError('a statement of the transaction failed, and nobody passed that on');
    // The answer to another statement: the stream lost or repeats some, and whether it was committed nobody knows.
    void this.end();
    return storeUnavailable('PostgreSQL answers nonsense');
  }

  /** The result of `work`, unless the transaction did not begin: that is what went wrong first. */
  async #worked<T>(work: (sql: Sql) => Promise<T>, begun: Begun): Promise<T> {
    const working = work(this.#sql);
    working.catch(() => undefined);
    const failed = await begun;
    if (failed !== undefined) throw failed.error;
    return working;
  }

  async #rollback(): Promise<void> {
    if (this.#broken) return;
    try {
      await this.#client.unsafe('rollback');
    } catch {
      this.#broken = true;
    }
  }
}

/** The client as work sees it: every statement asks `check` first. */
function guarded(client: Client, check: () => void): Sql {
  return new Proxy(client, {
    apply(target, self, args) {
      check();
      return Reflect.apply(target as unknown as (...all: unknown[]) => unknown, self, args);
    },
    get(target, name) {
      if (name === 'unsafe') check();
      return Reflect.get(target, name);
    },
  }) as unknown as Sql;
}
