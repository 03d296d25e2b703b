// Sealed fields of any table, for re-sealing (contract: SealedRows in stores/contracts/data-keys.ts). Table and column names
// come from the program's own declarations and are quoted; keys of rows travel as text and get the type of their column.
import type postgres from 'postgres';
import type { SealedRow, SealedRows } from '../contracts/data-keys.ts';
import type { SealedColumn } from '../contracts/sealer.ts';
import type { Sql } from './connection.ts';
import type { Postgres } from './pool.ts';

/** {@link SealedRows} over PostgreSQL. */
export class PostgresSealedRows implements SealedRows {
  readonly #postgres: Postgres;

  constructor(postgres: Postgres) {
    this.#postgres = postgres;
  }

  async total({ table, column }: SealedColumn): Promise<number> {
    const [row] = await this.#postgres.run(
      'sealed_rows.total',
      (sql) => sql<{ fields: number }[]>`
        select count(*) as fields from ${sql(table)} where ${sql(column)} is not null`,
    );
    return row?.fields ?? 0;
  }

  async countOutdated({ table, column }: SealedColumn, head: Buffer): Promise<number> {
    const [row] = await this.#postgres.run('sealed_rows.count_outdated', (sql) => {
      const [key, id] = [keyOf(sql, column), head.subarray(1)];
      // Two ranges of the index on the key: the planner uses it for neither `<>` nor both joined by `or`.
      const fields = sql`select count(*) from ${sql(table)} where ${sql(column)} is not null and ${key}`;
      return sql<{ outdated: number }[]>`select (${fields} < ${id}) + (${fields} > ${id}) as outdated`;
    });
    return row?.outdated ?? 0;
  }

  async outdated(
    of: SealedColumn,
    head: Buffer,
    after: readonly string[] | undefined,
    limit: number,
  ): Promise<readonly SealedRow[]> {
    const rows = await this.#postgres.run('sealed_rows.outdated', (sql) => {
      const ids = of.idColumns.map((name) => sql`${sql(name)}`);
      const asText = sql`array[${listed(
        sql,
        of.idColumns.map((name) => sql`${sql(name)}::text`),
      )}]`;
      const later =
        after === undefined
          ? sql``
          : sql`and (${listed(sql, ids)}) > (${listed(
              sql,
              after.map((id) => sql`${id}`),
            )})`;
      const tenant = of.tenantColumn === undefined ? sql`null::text` : sql`${sql(of.tenantColumn)}::text`;
      return sql<{ row: string[]; tenant: string | null; sealed: Buffer }[]>`
        select ${asText} as row, ${tenant} as tenant, ${sql(of.column)} as sealed from ${sql(of.table)}
        where ${sql(of.column)} is not null and ${keyOf(sql, of.column)} <> ${head.subarray(1)} ${later}
        order by ${listed(sql, ids)} limit ${limit}`;
    });
    return rows.map(({ row, tenant, sealed }) => ({ row, tenant: tenant ?? undefined, sealed }));
  }

  async replace(of: SealedColumn, { row, sealed }: SealedRow, next: Buffer): Promise<boolean> {
    const replaced = await this.#postgres.run('sealed_rows.replace', (sql) => {
      const same = of.idColumns.map((name, at) => sql`and ${sql(name)} = ${row[at] as string}`);
      return sql`update ${sql(of.table)} set ${sql(of.column)} = ${next} where ${sql(of.column)} = ${sealed} ${same}`;
    });
    return replaced.count > 0;
  }
}

/** What names the data key in a sealed field, as migration 0061 indexes it. */
const keyOf = (sql: Sql, column: string) => sql`substring(${sql(column)} from 2 for 16)`;

type Fragment = postgres.PendingQuery<postgres.Row[]>;

/** Fragments with commas between them. */
function listed(sql: Sql, fragments: readonly Fragment[]): Fragment {
  return fragments.reduce((left, right) => sql`${left}, ${right}`);
}
