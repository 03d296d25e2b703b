// Sealed fields of any table, for re-sealing (contract: SealedRows in stores/contracts/data-keys.ts). Table and column names
// come from the program's own declarations and are quoted; keys of rows travel as text and get the type of their column.
import type postgres from 'postgres';
import type { SealedRow, SealedRows } from '../contracts/data-keys.ts';
import type { SealedColumn } from '../contracts/sealer.ts';
import type { Sql } from './connection.ts';
import type { Postgres } from './pool.ts';

const HEAD_BYTES = 17;

/** {@link SealedRows} over PostgreSQL. */
export class PostgresSealedRows implements SealedRows {
  readonly #postgres: Postgres;

  constructor(postgres: Postgres) {
    this.#postgres = postgres;
  }

  async count({ table, column }: SealedColumn, head: Buffer): Promise<{ total: number; current: number }> {
    const [row] = await this.#postgres.run(
      'sealed_rows.count',
      (sql) => sql<{ total: number; current: number }[]>`
        select count(*) as total,
          count(*) filter (where substring(${sql(column)} from 1 for ${HEAD_BYTES}) = ${head}) as current
        from ${sql(table)} where ${sql(column)} is not null`,
    );
    return row ?? { total: 0, current: 0 };
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
        where ${sql(of.column)} is not null and substring(${sql(of.column)} from 1 for ${HEAD_BYTES}) <> ${head} ${later}
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

type Fragment = postgres.PendingQuery<postgres.Row[]>;

/** Fragments with commas between them. */
function listed(sql: Sql, fragments: readonly Fragment[]): Fragment {
  return fragments.reduce((left, right) => sql`${left}, ${right}`);
}
