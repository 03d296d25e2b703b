// Operators in PostgreSQL (contract: stores/contracts/operators.ts). Migrations 0021, 0060.
import type { OperatorPlace, OperatorRecord, OperatorRole, OperatorStore } from '../contracts/operators.ts';
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
  readonly tenant: string | null;
  readonly tenant_role: OperatorRole | null;
  readonly tenant_permissions: string[] | null;
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
  role: row.role ?? row.tenant_role ?? undefined,
  permissions: row.tenant_permissions ?? row.permissions,
  tenant: row.tenant ?? undefined,
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

  async page(after: OperatorPlace | undefined, limit: number): Promise<readonly OperatorRecord[]> {
    const rows = await this.#postgres.read('operators.page', (sql) => {
      const at = new Date(after?.createdAtMs ?? 0);
      const later =
        after === undefined ? sql`` : sql`where created_at < ${at} or (created_at = ${at} and id > ${after.id})`;
      return sql<Row[]>`select * from operator ${later} order by created_at desc, id limit ${limit}`;
    });
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
    // Serializable: two operators that remove each other at once would both see the other one left. Those of a tenant have
    // neither role nor permissions in these columns.
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
      { durable: false },
    );
  }

  async #one(operation: string, work: (sql: Sql) => PromiseLike<readonly Row[]>): Promise<OperatorRecord | undefined> {
    const rows = await this.#postgres.read(operation, async (sql) => work(sql));
    return rows.length === 1 ? recordOf(rows[0] as Row) : undefined;
  }
}

async function insert(sql: Sql, record: OperatorRecord): Promise<void> {
  const { role = null, tenant = null } = record;
  const permissions = [...record.permissions];
  const allowed =
    tenant === null
      ? { tenant, role, permissions, tenant_role: null, tenant_permissions: null }
      : { tenant, role: null, permissions: [], tenant_role: role, tenant_permissions: permissions };
  await sql`
    insert into operator ${sql({
      ...allowed,
      id: record.id,
      name: record.name,
      token_digest: record.tokenDigest ?? null,
      token_prefix: record.tokenPrefix ?? null,
      certificate: record.certificate ?? null,
      created_at: new Date(record.createdAtMs),
      created_by: record.createdBy,
      expires_at: record.expiresAtMs === undefined ? null : new Date(record.expiresAtMs),
    } as never)}`;
}
