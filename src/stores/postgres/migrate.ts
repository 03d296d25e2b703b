// Brings a schema to what this program needs: one transaction per migration under an advisory lock of the schema, so that
// any number of replicas may start at once. Also tells how far a schema is without touching it.
import type { Clock } from '../../core/clock.ts';
import { type Client, openClient, type PostgresSettings, quoted } from './connection.ts';
import { codeOf, storeError } from './errors.ts';
import {
  type AppliedMigration,
  type Migration,
  pendingMigrations,
  readMigrations,
  SchemaRefused,
} from './migrations.ts';

/** Oldest server that works. */
const OLDEST_SERVER = 150_000;

/** What a migration run needs to know. */
export interface MigrateOptions {
  readonly settings: PostgresSettings;
  readonly clock: Pick<Clock, 'nowMs'>;
  /** Version of this program. */
  readonly release: string;
  /** Default: the files beside this one. */
  readonly migrations?: readonly Migration[];
}

/** How far a schema is. */
export interface SchemaStatus {
  /** `18.4`, as the server says it. */
  readonly server: string;
  readonly applied: readonly AppliedMigration[];
  readonly pending: readonly Migration[];
}

/**
 * Applies what is missing and answers what that was; safe to call from many processes at once. Rejects with
 * {@link SchemaRefused} when the schema or the server cannot be used, with `store_unavailable` when there is no server. A
 * migration that fails leaves those before it in place and nothing of its own.
 */
export async function migrate(options: MigrateOptions): Promise<readonly Migration[]> {
  const known = options.migrations ?? readMigrations();
  return withClient(options.settings, async (client) => {
    await serverVersion(client);
    const done: Migration[] = [];
    for (;;) {
      const next = await applyNext(client, known, options);
      if (next === undefined) return done;
      done.push(next);
    }
  });
}

/** Looks only: changes nothing, takes no lock. Rejects as {@link migrate} does. */
export async function schemaStatus(options: MigrateOptions): Promise<SchemaStatus> {
  const known = options.migrations ?? readMigrations();
  return withClient(options.settings, async (client) => {
    const server = await serverVersion(client);
    const applied = await client.begin('read only', async (sql) => {
      await sql.unsafe(`set local search_path to ${quoted(options.settings.schema)}`);
      return appliedMigrations(sql);
    });
    return { server, applied, pending: pendingMigrations(known, applied, options.release) };
  });
}

async function withClient<T>(settings: PostgresSettings, work: (client: Client) => Promise<T>): Promise<T> {
  const client = openClient(settings, { onClose: () => undefined, prepared: false });
  try {
    return await work(client);
  } catch (error) {
    throw error instanceof SchemaRefused ? error : refusedOr(error);
  } finally {
    await client.end({ timeout: 0 }).catch(() => undefined);
  }
}

/** Missing rights are for a person to mend, so they are said like any other refusal. */
function refusedOr(error: unknown): Error {
  if (codeOf(error) !== '42501') return storeError(error);
  return new SchemaRefused(`the user of the URL may not do it: ${(error as Error).message}`);
}

async function serverVersion(client: Client): Promise<string> {
  const [row] = await client`select current_setting('server_version_num')::integer as number,
    split_part(current_setting('server_version'), ' ', 1) as text`;
  if (row?.number < OLDEST_SERVER) throw new SchemaRefused(`PostgreSQL ${row?.text} is too old: 15 or later is needed`);
  return String(row?.text);
}

type Transaction = Pick<Client, 'unsafe'>;

/** One migration in its own transaction; undefined when none is left. */
function applyNext(
  client: Client,
  known: readonly Migration[],
  { settings, clock, release }: MigrateOptions,
): Promise<Migration | undefined> {
  return client.begin(async (sql) => {
    await sql`select pg_advisory_xact_lock(hashtextextended(${`doorward ${settings.schema}`}, 0))`;
    await ensureSchema(sql, settings.schema);
    await sql.unsafe(`set local search_path to ${quoted(settings.schema)}`);
    const applied = await appliedMigrations(sql);
    const [next] = pendingMigrations(known, applied, release);
    if (next === undefined) return undefined;
    const record = async () => {
      const row = [next.number, next.name, next.checksum, release, next.oldestRelease, new Date(clock.nowMs())];
      await sql.unsafe(
        'insert into migration (number, name, checksum, release, oldest_release, applied_at) values ($1, $2, $3, $4, $5, $6)',
        row,
      );
    };
    // The number first: whoever got past the lock some other way fails here. The first one makes the table itself.
    const first = applied.length === 0;
    if (!first) await record();
    await sql.unsafe(next.sql);
    if (first) await record();
    return next;
  }) as Promise<Migration | undefined>;
}

/** Asked before made: CREATE SCHEMA IF NOT EXISTS needs a right that a plain owner of the schema lacks. */
async function ensureSchema(sql: Transaction, schema: string): Promise<void> {
  const found = await sql.unsafe('select 1 from pg_catalog.pg_namespace where nspname = $1', [schema]);
  if (found.length === 0) await sql.unsafe(`create schema ${quoted(schema)}`);
}

async function appliedMigrations(sql: Transaction): Promise<readonly AppliedMigration[]> {
  const [table] = await sql.unsafe(`select to_regclass('migration') is not null as there`);
  if (table?.there !== true) return [];
  const rows = await sql.unsafe(
    'select number, name, checksum, release, oldest_release, applied_at from migration order by number',
  );
  return rows.map((row) => ({
    number: row.number,
    name: row.name,
    checksum: row.checksum,
    release: row.release,
    oldestRelease: row.oldest_release,
    appliedAt: row.applied_at,
  }));
}
