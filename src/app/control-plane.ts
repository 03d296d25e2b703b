// Opens what needs PostgreSQL: one object with a field per part. Without `postgres` there is none, and the rooms that need
// it answer 501. With PostgreSQL away the parts are there and answer `store_unavailable` until it is back.
import type { UpkeepDesk } from '../admin/dependencies.ts';
import type { LoadedConfig } from '../config/loaded.ts';
import type { AuditTrail } from '../core/audit-trail.ts';
import type { ClientStore } from '../stores/contracts/clients.ts';
import type { CredentialStore } from '../stores/contracts/credentials.ts';
import type { DurableRevocations } from '../stores/contracts/durable-revocations.ts';
import type { Grants } from '../stores/contracts/grants.ts';
import type { IdempotentAnswers } from '../stores/contracts/idempotency.ts';
import type { InitialAccessTokens } from '../stores/contracts/initial-access-tokens.ts';
import type { OneTimeValues } from '../stores/contracts/one-time.ts';
import type { OperatorStore } from '../stores/contracts/operators.ts';
import { openPostgres, type PostgresBackend } from '../stores/postgres/backend.ts';
import { PostgresClients } from '../stores/postgres/clients.ts';
import type { PostgresSettings } from '../stores/postgres/connection.ts';
import { PostgresCredentials } from '../stores/postgres/credentials.ts';
import { PostgresGrants } from '../stores/postgres/grants.ts';
import { PostgresIdempotentAnswers } from '../stores/postgres/idempotency.ts';
import { PostgresInitialAccessTokens } from '../stores/postgres/initial-access-tokens.ts';
import { PostgresOneTimeValues } from '../stores/postgres/one-time.ts';
import { PostgresOperators } from '../stores/postgres/operators.ts';
import type { PrivateServer } from '../stores/postgres/private-server.ts';
import { PostgresRevocations } from '../stores/postgres/revocations.ts';
import { PostgresSigningKeys } from '../stores/postgres/signing-keys.ts';
import { type DurableAudit, openAudit } from './audit.ts';
import type { ControlPlaneParts } from './control-plane-parts.ts';
import { OwnKeys } from './own-keys.ts';
import { RELEASE } from './release.ts';
import { type KekGuard, openKekGuard, openSealing, type Sealing } from './sealing.ts';
import { openUpkeep } from './upkeep.ts';

/** The parts that rest on PostgreSQL. */
export interface ControlPlane extends AsyncDisposable {
  /** Pool, state and `onReady`. Aggregates take `postgres.pool`. */
  readonly postgres: PostgresBackend;
  readonly revocations: DurableRevocations;
  /** `sealing.sealer` is what aggregates seal with. */
  readonly sealing: Sealing;
  /** Signing keys of our own issuers. */
  readonly ownKeys: OwnKeys;
  /** Where events go. */
  readonly trail: AuditTrail;
  /** Undefined in a worker. */
  readonly audit: DurableAudit | undefined;
  readonly operators: OperatorStore;
  readonly clients: ClientStore;
  readonly initialTokens: InitialAccessTokens;
  readonly grants: Grants;
  readonly oneTime: OneTimeValues;
  readonly idempotency: IdempotentAnswers;
  /** Undefined in a worker. */
  readonly upkeep: UpkeepDesk | undefined;
  /** WebAuthn credentials of users. */
  readonly credentials: CredentialStore;
}

/** How long a start waits for PostgreSQL before it goes on without. */
const START_WAIT_MS = 2000;

/**
 * Undefined without `postgres`. Rejects where the embedded server cannot be started, and with `misconfigured` for a wrong
 * key-encryption key, having changed nothing.
 */
export async function openControlPlane(parts: ControlPlaneParts): Promise<ControlPlane | undefined> {
  if (parts.loaded.config.postgres === undefined) return undefined;
  const opened = new AsyncDisposableStack();
  try {
    const settings = await settingsOf(parts, opened);
    const guard = await openKekGuard(parts);
    const postgres = opened.use(openBackend(parts, settings, guard));
    await postgres.ready(START_WAIT_MS);
    const revocations = new PostgresRevocations(postgres.pool);
    const sealing = opened.use(await openSealing(parts, postgres, guard));
    const store = new PostgresSigningKeys(postgres.pool);
    const ownKeys = opened.use(new OwnKeys({ store, sealer: sealing.sealer, clock: parts.clock, log: parts.log }));
    const audit = parts.primaryTrail ? undefined : opened.use(openAudit(parts, postgres.pool, sealing.sealer));
    const trail = (parts.primaryTrail ?? audit?.trail) as AuditTrail;
    const operators = new PostgresOperators(postgres.pool);
    const idempotency = new PostgresIdempotentAnswers(postgres.pool, sealing.sealer);
    const initialTokens = new PostgresInitialAccessTokens(postgres.pool);
    const grants = new PostgresGrants(postgres.pool);
    const oneTime = new PostgresOneTimeValues(postgres.pool);
    const expiring = {
      revocations,
      grants,
      one_time_values: oneTime,
      idempotency_keys: idempotency,
      initial_access_tokens: initialTokens,
    };
    const upkeep = parts.primaryTrail ? undefined : opened.use(openUpkeep(parts, postgres.pool, trail, expiring));
    return {
      postgres,
      revocations,
      sealing,
      ownKeys,
      trail,
      audit,
      operators,
      clients: new PostgresClients(postgres.pool),
      initialTokens,
      grants,
      oneTime,
      idempotency,
      upkeep: upkeep?.desk,
      credentials: new PostgresCredentials(postgres.pool, sealing.sealer),
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    };
  } catch (error) {
    await opened.disposeAsync();
    throw error;
  }
}

function openBackend(
  { loaded, clock, log, metrics }: ControlPlaneParts,
  settings: PostgresSettings,
  guard: KekGuard,
): PostgresBackend {
  return openPostgres({
    settings,
    clock,
    release: RELEASE,
    migrate: loaded.config.postgres?.migrate ?? 'start',
    admit: guard.admit,
    onQuery: (operation, seconds) => metrics.postgresQuery.labels(operation).observe(seconds),
    onUnprepared: () => log.warn({ store: 'postgres' }, 'statements_unprepared'),
    onState: (state) => {
      if (state.status === 'up') log.info({ store: 'postgres' }, 'store_up');
      else if (state.status === 'down') log.warn({ store: 'postgres', problem: state.problem }, 'store_down');
      else log.error({ store: 'postgres', problem: state.problem }, 'schema_refused');
    },
    onMigrated: (migrations) => log.info({ migrations: migrations.map(({ number }) => number) }, 'schema_migrated'),
  });
}

/** Settings of the configured server, or of the embedded one, which is started first. */
async function settingsOf(parts: ControlPlaneParts, opened: AsyncDisposableStack): Promise<PostgresSettings> {
  const configured = postgresSettings(parts.loaded);
  if (configured !== undefined) return configured;
  const { openEmbedded } = await import('../stores/postgres/embedded.ts');
  const server: PrivateServer = opened.use(await openEmbedded(parts.stateDir));
  parts.log.info({ folder: server.folder }, 'postgres_embedded');
  return { url: server.url, ...limitsOf(parts.loaded) };
}

/** What the configuration says about a server that somebody else runs; undefined without one. */
export function postgresSettings(loaded: LoadedConfig): PostgresSettings | undefined {
  const { postgres } = loaded.config;
  if (postgres?.url === undefined) return undefined;
  const ca = postgres.tls?.ca === undefined ? {} : { ca: loaded.secrets.get(postgres.tls.ca) };
  return { url: loaded.secrets.get(postgres.url), ...limitsOf(loaded), ...ca };
}

function limitsOf({ config }: LoadedConfig): Pick<PostgresSettings, 'schema' | 'connections' | 'timeoutMs'> {
  const { schema = 'doorward', connections = 10, timeout = 2000 } = config.postgres ?? {};
  return { schema, connections, timeoutMs: timeout };
}
