// Initial access tokens in PostgreSQL (contract: stores/contracts/initial-access-tokens.ts). Migration 0030.
import type { InitialAccessToken, InitialAccessTokens, InitialTokenPlace } from '../contracts/initial-access-tokens.ts';
import type { Postgres } from './pool.ts';

interface Row {
  readonly id: string;
  readonly digest: string;
  readonly uses_left: number;
  readonly created_at: Date;
  readonly created_by: string;
  readonly expires_at: Date;
}

/** {@link InitialAccessTokens} over PostgreSQL. */
export class PostgresInitialAccessTokens implements InitialAccessTokens {
  readonly #postgres: Postgres;

  constructor(postgres: Postgres) {
    this.#postgres = postgres;
  }

  async add({ id, digest, usesLeft, createdAtMs, createdBy, expiresAtMs }: InitialAccessToken): Promise<void> {
    await this.#postgres.run(
      'initial_tokens.add',
      (sql) => sql`
        insert into initial_access_token (id, digest, uses_left, created_at, created_by, expires_at)
        values (${id}, ${digest}, ${usesLeft}, ${new Date(createdAtMs)}, ${createdBy}, ${new Date(expiresAtMs)})`,
    );
  }

  async page(
    nowMs: number,
    after: InitialTokenPlace | undefined,
    limit: number,
  ): Promise<readonly InitialAccessToken[]> {
    const rows = await this.#postgres.run('initial_tokens.page', (sql) => {
      const at = new Date(after?.createdAtMs ?? 0);
      const later =
        after === undefined ? sql`` : sql`and (created_at < ${at} or (created_at = ${at} and id > ${after.id}))`;
      return sql<Row[]>`
        select * from initial_access_token where uses_left > 0 and expires_at > ${new Date(nowMs)} ${later}
        order by created_at desc, id limit ${limit}`;
    });
    return rows.map((row) => ({
      id: row.id,
      digest: row.digest,
      usesLeft: row.uses_left,
      createdAtMs: row.created_at.getTime(),
      createdBy: row.created_by,
      expiresAtMs: row.expires_at.getTime(),
    }));
  }

  async redeem(digest: string, nowMs: number): Promise<string | undefined> {
    // One statement: the row lock puts redemptions in an order, and each sees what the one before it left.
    const [row] = await this.#postgres.run(
      'initial_tokens.redeem',
      (sql) => sql<{ id: string }[]>`
        update initial_access_token set uses_left = uses_left - 1
        where digest = ${digest} and uses_left > 0 and expires_at > ${new Date(nowMs)} returning id`,
    );
    return row?.id;
  }

  async remove(id: string): Promise<boolean> {
    const gone = await this.#postgres.run(
      'initial_tokens.remove',
      (sql) => sql`delete from initial_access_token where id = ${id}`,
    );
    return gone.count === 1;
  }

  async expire(nowMs: number): Promise<number> {
    const gone = await this.#postgres.run(
      'initial_tokens.expire',
      (sql) => sql`delete from initial_access_token where uses_left = 0 or expires_at <= ${new Date(nowMs)}`,
    );
    return gone.count;
  }
}
