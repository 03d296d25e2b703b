// One-time values in PostgreSQL (contract: stores/contracts/one-time.ts). Migration 0040.
import { digest } from '../../core/encoding.ts';
import type { OneTimeValues } from '../contracts/one-time.ts';
import { KEPT_AFTER_MS } from '../contracts/revocations.ts';
import type { Postgres } from './pool.ts';

const EXPIRE_COUNT = 5000;

/** {@link OneTimeValues} over PostgreSQL. */
export class PostgresOneTimeValues implements OneTimeValues {
  readonly #postgres: Postgres;

  constructor(postgres: Postgres) {
    this.#postgres = postgres;
  }

  async take(purpose: string, value: string, untilMs: number): Promise<boolean> {
    const taken = await this.#postgres.run(
      'one_time.take',
      (sql) => sql`
        insert into used_value (value_digest, until)
        values (${digest(JSON.stringify([purpose, value]))}, ${new Date(untilMs)}) on conflict do nothing`,
    );
    return taken.count === 1;
  }

  async expire(nowMs: number): Promise<number> {
    const gone = await this.#postgres.run(
      'one_time.expire',
      (sql) => sql`
        delete from used_value where value_digest in (
          select value_digest from used_value where until <= ${new Date(nowMs - KEPT_AFTER_MS)}
          limit ${EXPIRE_COUNT} for update skip locked)`,
    );
    return gone.count;
  }
}
