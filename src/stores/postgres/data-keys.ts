// Data keys in PostgreSQL (contract: stores/contracts/data-keys.ts). Migration 0010.
import type { DataKeyRecord, DataKeyStore, DataKeysState, KekCheck, NewDataKey } from '../contracts/data-keys.ts';
import type { SealedColumn } from '../contracts/sealer.ts';
import type { Sql } from './connection.ts';
import type { Postgres } from './pool.ts';

interface Row {
  readonly data_key_id: string;
  readonly kek_id: string;
  readonly wrapped: Buffer;
  readonly state: 'active' | 'retired';
  readonly created_at: Date;
  readonly retired_at: Date | null;
  readonly seals: number;
}

const recordOf = (row: Row): DataKeyRecord => ({
  dataKeyId: row.data_key_id,
  kekId: row.kek_id,
  wrapped: row.wrapped,
  state: row.state,
  createdAtMs: row.created_at.getTime(),
  retiredAtMs: row.retired_at?.getTime(),
  seals: row.seals,
});

/** {@link DataKeyStore} over PostgreSQL. */
export class PostgresDataKeys implements DataKeyStore {
  readonly #postgres: Postgres;

  constructor(postgres: Postgres) {
    this.#postgres = postgres;
  }

  read(): Promise<DataKeysState> {
    // Serializable, so that check and keys are of one moment.
    return this.#postgres.transact('data_keys.read', async (sql) => {
      const [check] = await sql<{ kek_id: string; kek_check: Buffer }[]>`select kek_id, kek_check from sealing`;
      const keys = await sql<Row[]>`select * from data_key order by created_at desc, data_key_id`;
      return { check: check && { kekId: check.kek_id, wrapped: check.kek_check }, keys: keys.map(recordOf) };
    });
  }

  async find(dataKeyId: string): Promise<DataKeyRecord | undefined> {
    const [row] = await this.#postgres.run(
      'data_keys.find',
      (sql) => sql<Row[]>`select * from data_key where data_key_id = ${dataKeyId}`,
    );
    return row && recordOf(row);
  }

  begin(check: KekCheck, first: NewDataKey): Promise<boolean> {
    return this.#postgres.transact('data_keys.begin', async (sql) => {
      const placed = await sql`
        insert into sealing (kek_id, kek_check) values (${check.kekId}, ${check.wrapped}) on conflict do nothing`;
      if (placed.count === 0) return false;
      await insertActive(sql, first);
      return true;
    });
  }

  reserve(dataKeyId: string, wanted: number, most: number): Promise<number> {
    return this.#postgres.run('data_keys.reserve', async (sql) => {
      const [row] = await sql<{ seals: number }[]>`
        select seals from data_key where data_key_id = ${dataKeyId} and state = 'active' for update`;
      const granted = row === undefined ? 0 : Math.max(0, Math.min(wanted, most - row.seals));
      if (granted > 0) {
        await sql`update data_key set seals = seals + ${granted} where data_key_id = ${dataKeyId}`;
      }
      return granted;
    });
  }

  rotate(previous: string, next: NewDataKey): Promise<boolean> {
    return this.#postgres.transact('data_keys.rotate', async (sql) => {
      const [current] = await sql<{ kek_id: string }[]>`select kek_id from sealing for update`;
      if (current?.kek_id !== next.kekId) return false;
      const retired = await sql`
        update data_key set state = 'retired', retired_at = ${new Date(next.createdAtMs)}
        where data_key_id = ${previous} and state = 'active'`;
      if (retired.count === 0) return false;
      await insertActive(sql, next);
      return true;
    });
  }

  rewrap(
    expected: KekCheck,
    check: KekCheck,
    keys: readonly Pick<DataKeyRecord, 'dataKeyId' | 'wrapped'>[],
  ): Promise<boolean> {
    return this.#postgres.transact('data_keys.rewrap', async (sql) => {
      const [current] = await sql<{ kek_check: Buffer }[]>`select kek_check from sealing for update`;
      if (!current?.kek_check.equals(expected.wrapped)) return false;
      const present = await sql<{ data_key_id: string }[]>`select data_key_id from data_key for update`;
      const wrapped = new Map(keys.map((key) => [key.dataKeyId, key.wrapped]));
      if (!present.every((row) => wrapped.has(row.data_key_id))) return false;
      await sql`update sealing set kek_id = ${check.kekId}, kek_check = ${check.wrapped}`;
      for (const [id, bytes] of wrapped) {
        await sql`update data_key set kek_id = ${check.kekId}, wrapped = ${bytes} where data_key_id = ${id}`;
      }
      return true;
    });
  }

  removeUnused(columns: readonly SealedColumn[], retiredBeforeMs: number): Promise<readonly string[]> {
    return this.#postgres.transact('data_keys.remove_unused', async (sql) => {
      const unused = columns.map(
        ({ table, column }) => sql`
          and not exists (
            select from ${sql(table)} as sealed_row
            where substring(sealed_row.${sql(column)} from 2 for 16)
              = decode(translate(substring(data_key_id from 3), '-_', '+/') || '==', 'base64')
          )`,
      );
      const removed = await sql<{ data_key_id: string }[]>`
        delete from data_key where state = 'retired' and retired_at < ${new Date(retiredBeforeMs)}
        ${unused.reduce((all, one) => sql`${all} ${one}`, sql``)}
        returning data_key_id`;
      return removed.map((row) => row.data_key_id);
    });
  }
}

async function insertActive(sql: Sql, key: NewDataKey): Promise<void> {
  await sql`
    insert into data_key (data_key_id, kek_id, wrapped, state, created_at)
    values (${key.dataKeyId}, ${key.kekId}, ${key.wrapped}, 'active', ${new Date(key.createdAtMs)})`;
}
