// Answers by Idempotency-Key in PostgreSQL (contract: stores/contracts/idempotency.ts). Keys stand there as digests, answers
// sealed, because they may hold a secret that is shown once.
import type { IdempotencyState, IdempotentAnswers, IdempotentCall, KeptAnswer } from '../contracts/idempotency.ts';
import type { SealedColumn, SealedPlace, Sealer } from '../contracts/sealer.ts';
import type { Postgres } from './pool.ts';

const BATCH = 1000;

/** Where the sealed answers stand, for re-sealing. */
export const idempotencyColumn: SealedColumn = {
  table: 'idempotency_key',
  idColumns: ['key_digest'],
  column: 'sealed',
};

interface Row {
  readonly request_digest: string;
  readonly sealed: Buffer | null;
}

const placeOf = ({ keyDigest }: IdempotentCall): SealedPlace => ({
  table: 'idempotency_key',
  row: keyDigest,
  column: 'sealed',
});

/** {@link IdempotentAnswers} over PostgreSQL. */
export class PostgresIdempotentAnswers implements IdempotentAnswers {
  readonly #postgres: Postgres;
  readonly #sealer: Sealer;

  constructor(postgres: Postgres, sealer: Sealer) {
    this.#postgres = postgres;
    this.#sealer = sealer;
  }

  async begin(call: IdempotentCall, nowMs: number, untilMs: number): Promise<IdempotencyState> {
    const { keyDigest, requestDigest } = call;
    const [now, until] = [new Date(nowMs), new Date(untilMs)];
    const row = await this.#postgres.run('idempotency.begin', async (sql) => {
      const begun = await sql`
        insert into idempotency_key (key_digest, request_digest, created_at, until)
        values (${keyDigest}, ${requestDigest}, ${now}, ${until})
        on conflict (key_digest) do update
          set request_digest = excluded.request_digest, created_at = excluded.created_at, until = excluded.until, sealed = null
          where idempotency_key.until <= ${now}
        returning key_digest`;
      if (begun.length > 0) return 'begun' as const;
      const [found] = await sql<Row[]>`
        select request_digest, sealed from idempotency_key where key_digest = ${keyDigest}`;
      return found;
    });
    if (row === 'begun') return { state: 'begun' };
    // Abandoned in between: the next call will get it.
    if (row === undefined) return { state: 'running' };
    if (row.request_digest !== requestDigest) return { state: 'other' };
    if (row.sealed === null) return { state: 'running' };
    const opened = await this.#sealer.unseal(placeOf(call), row.sealed);
    const { status, etag, text } = JSON.parse(opened.toString()) as KeptAnswer;
    return { state: 'answered', answer: { status, etag, text } };
  }

  async finish(call: IdempotentCall, answer: KeptAnswer): Promise<void> {
    const sealed = await this.#sealer.seal(placeOf(call), Buffer.from(JSON.stringify(answer)));
    await this.#postgres.run(
      'idempotency.finish',
      (sql) => sql`
        update idempotency_key set sealed = ${sealed}
        where key_digest = ${call.keyDigest} and request_digest = ${call.requestDigest} and sealed is null`,
    );
  }

  async abandon(call: IdempotentCall): Promise<void> {
    await this.#postgres.run(
      'idempotency.abandon',
      (sql) => sql`
        delete from idempotency_key
        where key_digest = ${call.keyDigest} and request_digest = ${call.requestDigest} and sealed is null`,
    );
  }

  async expire(nowMs: number): Promise<number> {
    const now = new Date(nowMs);
    const deleted = await this.#postgres.run(
      'idempotency.expire',
      (sql) => sql`
        delete from idempotency_key where key_digest in (
          select key_digest from idempotency_key where until <= ${now} order by until limit ${BATCH})`,
    );
    return deleted.count;
  }
}
