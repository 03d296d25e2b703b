// Clients in PostgreSQL (contract: stores/contracts/clients.ts). Migrations 0030, 0060; rows are client-rows.ts's. A change
// locks the client's row first, so that changes to one client stand in an order and its version never skips or repeats. The
// fence of a tenant is a condition of the statement that finds or locks the row.
import { SidecarError } from '../../core/errors.ts';
import {
  type Client,
  type ClientFilter,
  type ClientKey,
  type ClientNotice,
  type ClientPlace,
  type ClientProperties,
  type ClientSecret,
  type ClientStore,
  MAX_SECRETS,
  type NewClient,
  type TenantClients,
} from '../contracts/clients.ts';
import { type ClientRow, clientOf, noticeOf, propertyColumns, type SecretRow } from './client-rows.ts';
import type { Sql } from './connection.ts';
import type { Postgres } from './pool.ts';

const MOST_OF_ONE_ID = 10;

/** {@link ClientStore} over PostgreSQL. */
export class PostgresClients implements ClientStore, TenantClients {
  readonly #postgres: Postgres;
  readonly #tenant: string | undefined;

  /** `tenant`: the only one there is to this object. */
  constructor(postgres: Postgres, tenant?: string) {
    this.#postgres = postgres;
    this.#tenant = tenant;
  }

  within(tenant: string): TenantClients {
    return new PostgresClients(this.#postgres, tenant);
  }

  async add(client: NewClient): Promise<Client | undefined> {
    if (this.#tenant !== undefined && client.external) throw exceeded();
    return this.#postgres.run('clients.add', (sql) =>
      create(sql, { ...client, ...within(this.#tenant, client, undefined) }, this.#tenant),
    );
  }

  put(client: NewClient, nowMs: number): Promise<Client> {
    return this.#postgres.run('clients.put', async (sql) => {
      for (;;) {
        const created = this.#tenant === undefined ? await create(sql, client, undefined) : undefined;
        if (created !== undefined) return created;
        // There is one; unless it is removed before it can be locked, it is changed.
        const present = await lock(sql, client, this.#tenant);
        if (present === undefined && this.#tenant !== undefined) throw missing();
        if (present?.external === false)
          throw new TypeError('a client of ours cannot be replaced by an external record');
        if (present !== undefined)
          return change(
            sql,
            client.issuer,
            client.clientId,
            propertyColumns(sql, within(this.#tenant, client, present)),
            nowMs,
          );
      }
    });
  }

  /** Asked by every call of a client: both statements are on their way before the first is answered. */
  get(issuer: string, clientId: string): Promise<Client | undefined> {
    return this.#postgres.read('clients.get', async (sql) => {
      const [[row], secrets] = await Promise.all([
        sql<ClientRow[]>`
          select * from client
          where issuer = ${issuer} and client_id = ${clientId} and removed_at is null ${own(sql, this.#tenant)}`,
        sql<SecretRow[]>`
          select * from client_secret where issuer = ${issuer} and client_id = ${clientId} order by created_at, id`,
      ]);
      return row && clientOf(row, secrets);
    });
  }

  find(clientId: string): Promise<readonly Client[]> {
    return this.#select(
      'clients.find',
      (sql) => sql<ClientRow[]>`
        select * from client where client_id = ${clientId} and removed_at is null ${own(sql, this.#tenant)}
        order by issuer limit ${MOST_OF_ONE_ID}`,
    );
  }

  page(filter: ClientFilter, after: ClientPlace | undefined, limit: number): Promise<readonly Client[]> {
    return this.#select(
      'clients.page',
      (sql) => sql<ClientRow[]>`
        select * from client
        where removed_at is null ${own(sql, this.#tenant)} ${matching(sql, filter)} ${following(sql, after)}
        order by created_at desc, issuer, client_id limit ${limit}`,
    );
  }

  async owned(keys: readonly ClientKey[]): Promise<readonly ClientKey[]> {
    const [issuers, ids] = [keys.map(({ issuer }) => issuer), keys.map(({ clientId }) => clientId)];
    const rows = await this.#postgres.read(
      'clients.owned',
      (sql) => sql<Pick<ClientRow, 'issuer' | 'client_id'>[]>`
        select issuer, client_id from client
        where (issuer, client_id) in (select * from unnest(${issuers}::text[], ${ids}::text[])) ${own(sql, this.#tenant)}`,
    );
    return rows.map(({ issuer, client_id: clientId }) => ({ issuer, clientId }));
  }

  async update(
    issuer: string,
    clientId: string,
    properties: ClientProperties,
    { nowMs, expectedVersion }: Parameters<ClientStore['update']>[3],
  ): Promise<Client | 'missing' | 'stale'> {
    return this.#postgres.run('clients.update', async (sql) => {
      const present = await lock(sql, { issuer, clientId }, this.#tenant);
      if (present === undefined) return 'missing';
      if (expectedVersion !== undefined && present.version !== expectedVersion) return 'stale';
      return change(sql, issuer, clientId, propertyColumns(sql, within(this.#tenant, properties, present)), nowMs);
    });
  }

  remove(
    issuer: string,
    clientId: string,
    { nowMs, expectedVersion }: Parameters<ClientStore['remove']>[2],
  ): Promise<Client | 'missing' | 'stale'> {
    return this.#postgres.run('clients.remove', async (sql) => {
      const present = await lock(sql, { issuer, clientId }, this.#tenant);
      if (present === undefined) return 'missing';
      if (expectedVersion !== undefined && present.version !== expectedVersion) return 'stale';
      const was = clientOf(present, await secretsOf(sql, [present]));
      await sql`delete from client_secret where issuer = ${issuer} and client_id = ${clientId}`;
      await change(sql, issuer, clientId, { removed_at: new Date(nowMs), registration_token: null }, nowMs);
      return was;
    });
  }

  addSecret(
    issuer: string,
    clientId: string,
    secret: ClientSecret,
    nowMs: number,
  ): Promise<Client | 'missing' | 'full'> {
    return this.#postgres.run('clients.add_secret', async (sql) => {
      // The lock makes counting safe: two that add at once would otherwise both see room.
      if ((await lock(sql, { issuer, clientId }, this.#tenant)) === undefined) return 'missing';
      await sql`
        delete from client_secret
        where issuer = ${issuer} and client_id = ${clientId} and expires_at <= ${new Date(nowMs)}`;
      const [{ live } = { live: 0 }] = await sql<{ live: number }[]>`
        select count(*) as live from client_secret where issuer = ${issuer} and client_id = ${clientId}`;
      if (live >= MAX_SECRETS) return 'full';
      await insertSecret(sql, issuer, clientId, secret);
      return change(sql, issuer, clientId, {}, nowMs);
    });
  }

  removeSecret(issuer: string, clientId: string, secretId: string, nowMs: number): Promise<Client | 'missing'> {
    return this.#postgres.run('clients.remove_secret', async (sql) => {
      if ((await lock(sql, { issuer, clientId }, this.#tenant)) === undefined) return 'missing';
      const gone = await sql`
        delete from client_secret where issuer = ${issuer} and client_id = ${clientId} and id = ${secretId}`;
      return gone.count === 0 ? 'missing' : change(sql, issuer, clientId, {}, nowMs);
    });
  }

  async secretUsed(secretId: string, atMs: number): Promise<void> {
    const at = new Date(atMs);
    await this.#postgres.run(
      'clients.secret_used',
      (sql) => sql`
        update client_secret set last_used_at = ${at}
        where id = ${secretId} and (last_used_at is null or last_used_at < ${at})`,
      { durable: false },
    );
  }

  async findByRegistrationToken(tokenDigest: string): Promise<Client | undefined> {
    const [found] = await this.#select(
      'clients.find_registration',
      (sql) => sql<ClientRow[]>`
        select * from client where registration_token = ${tokenDigest} and removed_at is null`,
    );
    return found;
  }

  async setRegistrationToken(issuer: string, clientId: string, tokenDigest: string | undefined): Promise<boolean> {
    const changed = await this.#postgres.run(
      'clients.set_registration',
      (sql) => sql`
        update client set registration_token = ${tokenDigest ?? null}
        where issuer = ${issuer} and client_id = ${clientId} and removed_at is null`,
    );
    return changed.count === 1;
  }

  async unpublished(changedBeforeMs: number, limit: number): Promise<readonly ClientNotice[]> {
    const rows = await this.#postgres.read(
      'clients.unpublished',
      (sql) => sql<ClientRow[]>`
        select * from client where published_version < version and updated_at <= ${new Date(changedBeforeMs)}
        order by updated_at limit ${limit}`,
    );
    return rows.map(noticeOf);
  }

  async published({ issuer, clientId, version }: Parameters<ClientStore['published']>[0]): Promise<void> {
    await this.#postgres.run(
      'clients.published',
      (sql) => sql`
        update client set published_version = ${version}
        where issuer = ${issuer} and client_id = ${clientId} and published_version < ${version} and version >= ${version}`,
    );
  }

  async notice(issuer: string, clientId: string): Promise<ClientNotice | undefined> {
    const [row] = await this.#postgres.read(
      'clients.notice',
      (sql) => sql<ClientRow[]>`select * from client where issuer = ${issuer} and client_id = ${clientId}`,
    );
    return row && noticeOf(row);
  }

  async changedSince(changedAfterMs: number, limit: number): Promise<readonly ClientNotice[]> {
    const rows = await this.#postgres.read(
      'clients.changed_since',
      (sql) => sql<ClientRow[]>`
        select * from client where updated_at > ${new Date(changedAfterMs)} order by updated_at limit ${limit}`,
    );
    return rows.map(noticeOf);
  }

  async notices(after: Parameters<ClientStore['notices']>[0], limit: number): Promise<readonly ClientNotice[]> {
    const { issuer = '', clientId = '' } = after ?? {};
    const rows = await this.#postgres.read(
      'clients.notices',
      (sql) => sql<ClientRow[]>`
        select * from client where (issuer, client_id) > (${issuer}, ${clientId})
        order by issuer, client_id limit ${limit}`,
    );
    return rows.map(noticeOf);
  }

  #select(operation: string, work: (sql: Sql) => PromiseLike<readonly ClientRow[]>): Promise<readonly Client[]> {
    return this.#postgres.read(operation, async (sql) => {
      const rows = await work(sql);
      const secrets = await secretsOf(sql, rows);
      return rows.map((row) => clientOf(row, secrets));
    });
  }
}

const exceeded = () => new SidecarError('forbidden', 'tenant_exceeded', 'this is not for an operator of a tenant');
const missing = () => new SidecarError('not_found', 'resource_not_found', 'no such client');

/** The condition that fences a tenant in. */
const own = (sql: Sql, tenant: string | undefined) =>
  tenant === undefined ? sql`` : sql`and client.tenant = ${tenant}`;

/** Properties as they may be written within a tenant; without one they are free. Throws `forbidden` for another tenant. */
function within(tenant: string | undefined, given: ClientProperties, present: ClientRow | undefined): ClientProperties {
  if (tenant === undefined) return given;
  if ((given.tenant ?? tenant) !== tenant) throw exceeded();
  const { tier, limits } = present === undefined ? { tier: undefined, limits: {} } : clientOf(present, []);
  return { ...given, tenant, tier, limits };
}

/** The row, held until the transaction ends. */
async function lock(
  sql: Sql,
  { issuer, clientId }: ClientKey,
  tenant: string | undefined,
): Promise<ClientRow | undefined> {
  const [row] = await sql<ClientRow[]>`
    select * from client
    where issuer = ${issuer} and client_id = ${clientId} and removed_at is null ${own(sql, tenant)} for update`;
  return row;
}

/** A new row, or the row of one that was removed, of the same tenant if need be; undefined when there is a client. */
async function create(sql: Sql, client: NewClient, tenant: string | undefined): Promise<Client | undefined> {
  const at = new Date(client.createdAtMs);
  const values = {
    ...propertyColumns(sql, client),
    external: client.external,
    registered_by: client.registeredBy,
    registration_token: client.registrationTokenDigest ?? null,
    created_at: at,
    updated_at: at,
    removed_at: null,
  };
  const [row] = await sql<ClientRow[]>`
    insert into client ${sql({ ...values, issuer: client.issuer, client_id: client.clientId, version: 1 } as never)}
    on conflict (issuer, client_id) do update set ${sql(values as never)}, version = client.version + 1
      where client.removed_at is not null ${own(sql, tenant)}
    returning *`;
  if (row === undefined) return undefined;
  for (const secret of client.secrets) await insertSecret(sql, client.issuer, client.clientId, secret);
  return clientOf(row, await secretsOf(sql, [row]));
}

/** Sets the columns and counts the change; the row is locked. Time never goes back, whatever the clocks of replicas. */
async function change(
  sql: Sql,
  issuer: string,
  clientId: string,
  columns: Readonly<Record<string, unknown>>,
  nowMs: number,
): Promise<Client> {
  const at = new Date(nowMs);
  const set = { ...columns, updated_at: sql`greatest(updated_at, ${at}::timestamptz)`, version: sql`version + 1` };
  const [row] = await sql<ClientRow[]>`
    update client set ${sql(set as never)} where issuer = ${issuer} and client_id = ${clientId} returning *`;
  return clientOf(row as ClientRow, await secretsOf(sql, [row as ClientRow]));
}

async function insertSecret(sql: Sql, issuer: string, clientId: string, secret: ClientSecret): Promise<void> {
  const { expiresAtMs, lastUsedAtMs } = secret;
  await sql`
    insert into client_secret (id, issuer, client_id, digest, prefix, created_at, expires_at, last_used_at)
    values (${secret.id}, ${issuer}, ${clientId}, ${secret.digest}, ${secret.prefix}, ${new Date(secret.createdAtMs)},
      ${expiresAtMs === undefined ? null : new Date(expiresAtMs)},
      ${lastUsedAtMs === undefined ? null : new Date(lastUsedAtMs)})`;
}

/** The secrets of all these clients, oldest first, in one statement. */
async function secretsOf(sql: Sql, rows: readonly ClientRow[]): Promise<readonly SecretRow[]> {
  const own = rows.filter(({ external }) => !external);
  if (own.length === 0) return [];
  return sql<SecretRow[]>`
    select * from client_secret
    where client_id = any(${own.map((row) => row.client_id)}::text[]) order by created_at, id`;
}

function matching(sql: Sql, { issuer, tier, tenant, disabled, name }: ClientFilter) {
  return sql`
    ${issuer === undefined ? sql`` : sql`and issuer = ${issuer}`}
    ${tier === undefined ? sql`` : sql`and tier = ${tier}`}
    ${tenant === undefined ? sql`` : sql`and tenant = ${tenant}`}
    ${disabled === undefined ? sql`` : sql`and disabled = ${disabled}`}
    ${name === undefined ? sql`` : sql`and name = ${name}`}`;
}

function following(sql: Sql, after: ClientPlace | undefined) {
  if (after === undefined) return sql``;
  const at = new Date(after.createdAtMs);
  return sql`
    and (created_at < ${at} or (created_at = ${at} and (issuer, client_id) > (${after.issuer}, ${after.clientId})))`;
}
