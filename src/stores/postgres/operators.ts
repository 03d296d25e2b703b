// Operators in PostgreSQL (contract: stores/contracts/operators.ts). Migration 0021.
import type { OperatorRecord, OperatorRole, OperatorStore } from '../contracts/operators.ts';
import type { Sql } from './connection.ts';
import { ConstraintViolation } from './errors.ts';
import type { Postgres } from './pool.ts';

interface Row {
  readonly id: string;
  readonly name: string;
  readonly token_digest: string | null;
  readonly token_prefix: string | null;
  readonly certificate: string | null;
  readonly role: OperatorRole | null;
  readonly permissions: string[];
  readonly created_at: Date;
  readonly created_by: string;
  readonly expires_at: Date | null;
  readonly last_used_at: Date | null;
}

const recordOf = (row: Row): OperatorRecord => ({
  id: row.id,
  name: row.name,
  tokenDigest: row.token_digest ?? undefined,
  tokenPrefix: row.token_prefix ?? undefined,
  certificate: row.certificate ?? undefined,
  role: row.role ?? undefined,
  permissions: row.permissions,
  createdAtMs: row.created_at.getTime(),
  createdBy: row.created_by,
  expiresAtMs: row.expires_at?.getTime(),
  lastUsedAtMs: row.last_used_at?.getTime(),
});

/** {@link OperatorStore} over PostgreSQL. */
export class PostgresOperators implements OperatorStore {
  readonly #postgres: Postgres;

  constructor(postgres: Postgres) {
    this.#postgres = postgres;
  }

  findByDigest(tokenDigest: string): Promise<OperatorRecord | undefined> {
    return this.#one(
      'operators.find_token',
      (sql) => sql<Row[]>`select * from operator where token_digest = ${tokenDigest}`,
    );
  }

  findByCertificate(names: readonly string[]): Promise<OperatorRecord | undefined> {
    const known = [...names];
    return this.#one(
      'operators.find_certificate',
      (sql) => sql<Row[]>`select * from operator where certificate = any(${known}::text[])`,
    );
  }

  find(idOrName: string): Promise<OperatorRecord | undefined> {
    return this.#one(
      'operators.find',
      (sql) => sql<Row[]>`
        select * from operator where id = ${idOrName} or name = ${idOrName} order by id <> ${idOrName} limit 1`,
    );
  }

  async list(): Promise<readonly OperatorRecord[]> {
    const rows = await this.#postgres.run(
      'operators.list',
      (sql) => sql<Row[]>`select * from operator order by created_at, id`,
    );
    return rows.map(recordOf);
  }

  async add(record: OperatorRecord): Promise<boolean> {
    try {
      await this.#postgres.run('operators.add', (sql) => insert(sql, record));
      return true;
    } catch (error) {
      if (error instanceof ConstraintViolation && /^operator_(name|token|certificate|pkey)$/.test(error.constraint))
        return false;
      throw error;
    }
  }

  addFirst(record: OperatorRecord): Promise<boolean> {
    return this.#postgres.transact('operators.add_first', async (sql) => {
      const [present] = await sql`select 1 from operator limit 1`;
      if (present !== undefined) return false;
      await insert(sql, record);
      return true;
    });
  }

  remove(id: string, nowMs: number): Promise<'removed' | 'missing' | 'last'> {
    // Serializable: two operators that remove each other at once would both see the other one left.
    return this.#postgres.transact('operators.remove', async (sql) => {
      const [others] = await sql<{ managers: number }[]>`
        select count(*) as managers from operator
        where id <> ${id} and (expires_at is null or expires_at > ${new Date(nowMs)})
          and (role = 'admin' or permissions && array['*', 'operators:write'])`;
      const [present] = await sql`select 1 from operator where id = ${id}`;
      if (present === undefined) return 'missing';
      if ((others?.managers ?? 0) === 0) return 'last';
      await sql`delete from operator where id = ${id}`;
      return 'removed';
    });
  }

  async used(id: string, atMs: number): Promise<void> {
    const at = new Date(atMs);
    await this.#postgres.run(
      'operators.used',
      (sql) => sql`
        update operator set last_used_at = ${at} where id = ${id} and (last_used_at is null or last_used_at < ${at})`,
    );
  }

  async #one(operation: string, work: (sql: Sql) => PromiseLike<readonly Row[]>): Promise<OperatorRecord | undefined> {
    const rows = await this.#postgres.run(operation, async (sql) => work(sql));
    return rows.length === 1 ? recordOf(rows[0] as Row) : undefined;
  }
}

async function insert(sql: Sql, record: OperatorRecord): Promise<void> {
  await sql`
    insert into operator (id, name, token_digest, token_prefix, certificate, role, permissions, created_at, created_by, expires_at)
    values (${record.id}, ${record.name}, ${record.tokenDigest ?? null}, ${record.tokenPrefix ?? null},
      ${record.certificate ?? null}, ${record.role ?? null}, ${[...record.permissions]}::text[],
      ${new Date(record.createdAtMs)}, ${record.createdBy},
      ${record.expiresAtMs === undefined ? null : new Date(record.expiresAtMs)})`;
}
