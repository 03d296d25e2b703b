// What a chaos run breaks: two sidecars with a control plane, one PostgreSQL, one Redis (or Sentinels, or a Cluster) and the
// application, real processes all, with relays between the sidecars and everything else.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { splitSocket } from '../../src/stores/postgres/connection.ts';
import type { PrivateServer } from '../../src/stores/postgres/private-server.ts';
import { startPostgres } from '../support/postgres-server.ts';
import { type ClusterDeployment, startCluster } from '../support/redis-cluster.ts';
import { masterName, type SentinelDeployment, startSentinels } from '../support/redis-sentinel.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';
import { type Relay, startRelay } from '../support/relay.ts';
import { testIssuerBlock } from '../support/sidecar.ts';
import { type Application, startApplication } from './application.ts';
import { ISSUER_HOST, Replica } from './replica.ts';

/** How Redis is deployed. */
export const deployments = ['single', 'sentinel', 'cluster'] as const;
export type Deployment = (typeof deployments)[number];

/** Everything that runs. */
export interface World extends AsyncDisposable {
  readonly deployment: Deployment;
  /** The first one answers by what it knows while Redis is away (`known`), the second one refuses (`deny`). */
  readonly replicas: readonly [Replica, Replica];
  readonly application: Application;
  readonly postgres: PrivateServer;
  /** Of deployment `single`. */
  readonly redis?: RedisServer;
  readonly sentinels?: SentinelDeployment;
  readonly cluster?: ClusterDeployment;
  readonly relays: { readonly redis?: Relay; readonly postgres: Relay; readonly application: Relay };
}

/** What a request may take while Redis is silent; ample, because a busy machine is no fault. */
const REDIS_TIMEOUT = '2s';

/** Prefixes of the routes, by what their limit does while Redis is away. */
export const routes = ['/local', '/allow', '/deny'] as const;

/** The route whose limit is reached; exact, so that every window of it can be held against the rate. */
export const tight = { path: '/tight', limit: 20, windowMs: 10_000, rate: '20/10s' } as const;

const oauthLimits = ['token', 'introspect', 'revoke', 'register', 'userinfo', 'documents', 'failures'];

/** The configuration of one replica, without its ports. */
function configOf(at: { redis: object; postgresUrl: string; application: string; kek: string }, onStoreDown: string) {
  const limit = (mode: string) => ({ key: 'subject', rate: '100000/1m', on_store_down: mode });
  return {
    version: 1,
    name: 'chaos',
    // All callers have one address: it must not be slowed down for the tokens that a wrong clock refuses.
    proxy: {
      ...{ bad_tokens: '1000000/1m', endpoints: { oauth: true }, trusted_proxies: ['127.0.0.0/8'] },
      // Fewer than there are: reached within minutes, so that what grows afterwards is not the cache that fills.
      remembered_tokens: 2000,
    },
    upstreams: { app: { url: at.application } },
    issuers: { test: testIssuerBlock, self: { issuer: `https://${ISSUER_HOST}`, audience: ['api'], sign: {} } },
    oauth: { refresh_grace: '5m', limits: Object.fromEntries(oauthLimits.map((name) => [name, 'roomy'])) },
    limits: {
      ...{ by_local: limit('local'), by_allow: limit('allow'), by_deny: limit('deny') },
      roomy: { key: 'ip', rate: '1000000/1m' },
      tight: { key: 'subject', rate: tight.rate, algorithm: 'log' },
    },
    defaults: { response_timeout: '3s', issuers: ['test', 'self'] },
    routes: {
      ...Object.fromEntries(
        routes.map((prefix) => [prefix.slice(1), { match: { prefix }, limits: [`by_${prefix.slice(1)}`] }]),
      ),
      tight: { match: { prefix: tight.path }, limits: ['tight'] },
    },
    redis: { ...at.redis, timeout: REDIS_TIMEOUT },
    postgres: { url: { value: at.postgresUrl }, timeout: '2s' },
    sealing: { kek: { key: { value: at.kek } } },
    revocation: { on_store_down: onStoreDown },
    log: { level: 'info', decisions: { allow: 0, deny: 0 } },
  };
}

type Stores = Pick<World, 'redis' | 'sentinels' | 'cluster'> & { relay?: Relay; settings: object };

async function openStores(deployment: Deployment, opening: AsyncDisposableStack): Promise<Stores> {
  const listed = (nodes: readonly { host: string; port: number }[]) => nodes.map(({ host, port }) => `${host}:${port}`);
  if (deployment === 'sentinel') {
    const sentinels = opening.use(await startSentinels());
    return { sentinels, settings: { sentinel: { name: masterName, nodes: listed(sentinels.nodes) } } };
  }
  if (deployment === 'cluster') {
    const cluster = opening.use(await startCluster());
    return { cluster, settings: { cluster: { nodes: listed(cluster.nodes) } } };
  }
  const redis = opening.use(await startRedis());
  const relay = opening.use(await startRelay({ host: '127.0.0.1', port: redis.port }));
  return { redis, relay, settings: { url: { value: `redis://127.0.0.1:${relay.port}/0` } } };
}

/** Starts it all. */
export async function openWorld(deployment: Deployment): Promise<World> {
  await using opening = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), 'doorward-chaos-'));
  opening.defer(() => rmSync(folder, { recursive: true, force: true }));
  const stores = await openStores(deployment, opening);
  const postgres = opening.use(await startPostgres());
  const { host } = splitSocket(postgres.url);
  const postgresRelay = opening.use(await startRelay({ path: join(host as string, '.s.PGSQL.5432') }));
  const application = opening.use(await startApplication(join(folder, 'seen')));
  const applicationRelay = opening.use(await startRelay({ host: '127.0.0.1', port: application.port }));
  const { password } = new URL(postgres.url);
  const at = {
    redis: stores.settings,
    postgresUrl: `postgres://doorward:${password}@127.0.0.1:${postgresRelay.port}/postgres`,
    application: `http://127.0.0.1:${applicationRelay.port}`,
    kek: randomBytes(32).toString('base64'),
  };
  const replica = (name: string) => opening.use(new Replica(name, folder, { settable: true }));
  const replicas = [replica('known'), replica('deny')] as const;
  await Promise.all(replicas.map((one) => one.open(configOf(at, one.name))));
  const opened = opening.move();
  return {
    deployment,
    replicas,
    application,
    postgres,
    ...stores,
    relays: { ...(stores.relay && { redis: stores.relay }), postgres: postgresRelay, application: applicationRelay },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
