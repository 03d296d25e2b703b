// The composition root: a configuration in, running servers out. Opens everything in order, hands each part what it needs,
// switches to a new configuration on reload, and drains. Parts of it stand in app/.
import { join } from 'node:path';
import { openAdmin } from './app/admin.ts';
import { logTrail } from './app/audit.ts';
import { openClients } from './app/clients.ts';
import type { ControlPlane } from './app/control-plane.ts';
import { routeRows } from './app/desks.ts';
import { type Current, type Generations, generations } from './app/generations.ts';
import { HealthLog } from './app/health-log.ts';
import type { OpenedOAuth } from './app/oauth.ts';
import type { ObservedParts } from './app/observation.ts';
import { openPlane, type PlaneParts } from './app/plane.ts';
import { openProxyPort, type ProxyPort } from './app/proxy-port.ts';
import { openPublishing } from './app/publishing.ts';
import { Relaxed } from './app/relaxed.ts';
import { Reloading } from './app/reloading.ts';
import { openFollower, openRevoker } from './app/revoking.ts';
import type { Revoker, Siblings } from './app/siblings.ts';
import { claimSocketPath, prepareStateDir } from './app/socket-path.ts';
import { openStores, type Stores } from './app/stores.ts';
import { factsNow } from './app/together-seen.ts';
import { Tracing } from './app/tracing.ts';
import type { WorkerSeat } from './app/worker-seat.ts';
import { postgresShare, workerCount } from './app/worker-share.ts';
import type { WorkerPool } from './app/workers.ts';
import type { ClientAnnouncer } from './clients/announcer.ts';
import { loadConfig } from './config/load.ts';
import type { LoadedConfig } from './config/loaded.ts';
import { requireProduction } from './config/production.ts';
import { type ConfigHolder, holdConfig, type ReloadOutcome } from './config/reload.ts';
import { resolveBeside } from './config/secrets.ts';
import { type Clock, systemClock } from './core/clock.ts';
import { randomId } from './core/ids.ts';
import { KnownClients } from './limits/clients.ts';
import { DeniedKeys } from './limits/denied.ts';
import { LocalLimits } from './limits/local.ts';
import { type CheckGate, checkGate } from './proxy/decide/check-gate.ts';
import type { OpenExchanges } from './proxy/open-exchanges.ts';
import type { Lookup } from './proxy/outbound/endpoints/names.ts';
import type { DataPlane } from './proxy/server.ts';
import type { RevocationFollower } from './revocation/follower.ts';
import type { FollowerOptions } from './revocation/follower-options.ts';
import { RevocationIndex } from './revocation/index.ts';
import type { KeptDecision } from './stores/contracts/decisions.ts';
import { MemoryChecks } from './stores/memory/checks.ts';
import { type Log, openLog } from './telemetry/log.ts';
import { type Metrics, openMetrics } from './telemetry/metrics.ts';

/** What a start needs. */
export interface SidecarOptions {
  readonly file: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Default: JSON lines on standard output at the configured level. */
  readonly log?: Log;
  /** Resolves host names of upstreams; default: the system's resolver. */
  readonly lookup?: Lookup;
  /** Told of every refusal, as it is kept for `doorward why`. */
  readonly onRefusal?: (decision: Readonly<Record<string, unknown>>) => void;
  /** Refuses, at the start and at each reload, what must not serve users (config/production.ts). Workers get what was accepted. */
  readonly production?: boolean;
  /** Given in a worker process: the configuration comes from the primary, which has the private ports. */
  readonly seat?: WorkerSeat;
  /** Default: the machine's own; tests let replicas disagree about the time. */
  readonly clock?: Clock;
}

/** A running sidecar. Disposing it cuts everything; `drain` ends it gently. */
export interface Sidecar extends AsyncDisposable {
  readonly proxyUrl: string;
  readonly adminUrl: string | undefined;
  readonly observeUrl: string | undefined;
  readonly socketPath: string;
  readonly stateDir: string;
  readonly adminTokenFile: string;
  routes(): ReturnType<typeof routeRows>;
  /** Without workers the outcome is in force before the promise is there; with them every process has it, or none. */
  reload(): Promise<ReloadOutcome>;
  /** Fails readiness, serves on for `drain.delay`, accepts no more, finishes, ends streams with 1001. True when all was in time. */
  drain(): Promise<boolean>;
  /** Resolves when workers cannot be kept alive and the program has to end; never without workers. */
  readonly failed: Promise<Error>;
}

/** Starts everything. Throws ConfigError for a refused configuration, and the system's error for an address in use. */
export async function openSidecar(options: SidecarOptions): Promise<Sidecar> {
  const replica = new Replica(options, options.clock ?? systemClock);
  try {
    await replica.open();
  } catch (error) {
    await replica[Symbol.asyncDispose]();
    throw error;
  }
  return replica;
}

/** What is there only with PostgreSQL, and changes what tokens rest on. */
interface OAuthChanges {
  readonly revoker: Revoker | undefined;
  readonly announcer: ClientAnnouncer | undefined;
}

/** One replica's parts, in the order in which they are opened. */
class Replica implements Sidecar {
  readonly stateDir: string;
  readonly socketPath: string;
  readonly adminTokenFile: string;
  readonly #options: SidecarOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #metrics: Metrics = openMetrics();
  readonly #holder: ConfigHolder;
  readonly #closing = new AsyncDisposableStack();
  #current!: Current;
  #generations!: Generations;
  #oauth: OpenedOAuth | undefined;
  #plane!: DataPlane;
  #open!: OpenExchanges;
  #denied!: DeniedKeys;
  #tracing!: Tracing;
  /** Undefined where workers have it. */
  #proxy: ProxyPort | undefined;
  /** Undefined in a worker, as the next. */
  #admin: Awaited<ReturnType<typeof openAdmin>> | undefined;
  /** Only in the primary of several processes. */
  #pool: WorkerPool | undefined;
  #reloading!: Reloading;
  #relaxed!: Relaxed;
  #draining: Promise<boolean> | undefined;

  constructor(options: SidecarOptions, clock: Clock) {
    const { seat } = options;
    const load = seat ? () => seat.loaded() : () => this.#load();
    this.#options = options;
    const first = load();
    this.#clock = clock;
    this.#log = options.log ?? openLog(first.config.log.level, undefined, seat && { worker: seat.number });
    this.#holder = holdConfig(first, load);
    this.stateDir = resolveBeside(options.file, first.config.state_dir);
    this.socketPath = join(this.stateDir, 'admin.sock');
    this.adminTokenFile = join(this.stateDir, 'admin.token');
  }

  get proxyUrl(): string {
    return (this.#proxy ?? this.#pool)?.url ?? '';
  }

  get adminUrl(): string | undefined {
    return this.#admin?.adminUrl;
  }

  get observeUrl(): string | undefined {
    return this.#admin?.observeUrl;
  }

  routes = () => routeRows(() => this.#current);

  get failed(): Promise<Error> {
    return this.#pool?.failed ?? new Promise(() => undefined);
  }

  async open(): Promise<void> {
    const first = this.#holder.current();
    const { seat } = this.#options;
    const instanceId = seat?.instanceId ?? randomId();
    if (seat === undefined) prepareStateDir(this.stateDir, first, this.#log);
    const workersOpened = await this.#startWorkers(first, instanceId);
    let follower: RevocationFollower | undefined;
    const health = seat === undefined ? new HealthLog(this.#log, this.#clock) : undefined;
    const onReplaced: Parameters<typeof openStores>[2] = (why) => {
      if (why === 'another_server') health?.serverReplaced();
      follower?.refresh();
    };
    const stores = await openStores(first, this.#clock, onReplaced, instanceId);
    this.#closing.use(stores.backend);
    const controlPlane = await this.#openControlPlane(first);
    const index = new RevocationIndex();
    this.#denied = new DeniedKeys(this.#clock);
    const revoking = { ...{ stores, controlPlane, index, clock: this.#clock }, closing: this.#closing };
    const config = () => this.#holder.current().config;
    const [denied, metrics] = [this.#denied, this.#metrics];
    const onLogChange: FollowerOptions['onLogChange'] = (change) => health?.logChanged(change);
    const onSetBack = (ms: number) => this.#log.warn({ set_back_ms: Math.round(ms) }, 'clock_set_back');
    follower = await openFollower({ ...revoking, config, denied, metrics, onLogChange, onSetBack });
    const revoker = await openRevoker({ ...revoking, follower, siblings: this.#siblings() });
    const knownClients = new KnownClients(() => this.#denied.clear());
    const announcer = await this.#openClients(knownClients, stores, controlPlane, index, revoker);
    const gate = this.#gate(stores, follower, index);
    this.#tracing = this.#closing.use(new Tracing({ clock: this.#clock, log: this.#log, metrics }));
    const { time } = follower;
    this.#generations = generations({
      clock: { nowMs: () => time.tokenMs(), monotonicMs: () => this.#clock.monotonicMs() },
      log: this.#log,
      metrics: this.#metrics,
      gate,
      stateDir: this.stateDir,
      ownKeys: controlPlane?.ownKeys,
      publishedKeys: await this.#openPublishing(first, stores, controlPlane),
      knownClients,
      tracing: this.#tracing,
      lookup: this.#options.lookup,
      onKeysRemoved: (issuer, keyIds) => this.#open?.doubt(issuer, keyIds),
    });
    this.#closing.use(this.#generations);
    this.#current = this.#generations.next(first);
    await Promise.all([...this.#current.issuers.values()].map(({ keys }) => keys.warm()));
    await this.#openOAuth(stores, controlPlane, { follower, index, revoker, announcer });
    this.#openPlane(stores, { gate, follower, knownClients });
    const observed = this.#observed(stores, controlPlane, follower, index);
    const held = { holder: this.#holder, log: this.#log, metrics: this.#metrics, pool: this.#pool };
    const steps = { compile: this.#compile.bind(this), switchTo: this.#switch.bind(this) };
    this.#reloading = this.#closing.use(new Reloading({ ...held, ...steps }));
    this.#followRelaxed();
    if (seat !== undefined) return this.#serveSeat(seat, observed, knownClients);
    if (this.#pool === undefined) await this.#listen();
    await this.#openAdmin(observed, { revoker, announcer });
    await workersOpened?.();
    const trail = controlPlane?.trail ?? logTrail(this.#log, this.#metrics);
    await this.#pool?.listen({ trail, follower, known: knownClients });
    this.#reloading.followFiles();
    const { proxyUrl: proxy, adminUrl: admin, observeUrl: observe, socketPath: socket } = this;
    this.#log.info({ proxy, admin, observe, socket, workers: this.#pool?.figures().serving }, 'listening');
    if (health !== undefined) this.#closing.use(health).follow(() => factsNow(observed, this.#pool));
  }

  reload(): Promise<ReloadOutcome> {
    return this.#reloading.reload();
  }

  drain(): Promise<boolean> {
    this.#draining ??= this.#drainOnce();
    return this.#draining;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // First: they rest on the audit log and the stores of this process.
    await this.#pool?.[Symbol.asyncDispose]();
    this.#plane?.close();
    await this.#closing.disposeAsync();
  }

  #load(): LoadedConfig {
    const { file, env, production = false } = this.#options;
    const loaded = loadConfig({ file, env });
    return production ? requireProduction(loaded) : loaded;
  }

  #openPublishing(loaded: LoadedConfig, stores: Stores, controlPlane: ControlPlane | undefined) {
    const parts = { loaded, stores, controlPlane, clock: this.#clock, log: this.#log, metrics: this.#metrics };
    return openPublishing(parts, this.#closing);
  }

  #openClients(
    known: KnownClients,
    { backend }: Stores,
    controlPlane: ControlPlane | undefined,
    index: RevocationIndex,
    revoker: Revoker | undefined,
  ): Promise<ClientAnnouncer | undefined> {
    const held = { clock: this.#clock, log: this.#log, metrics: this.#metrics };
    const [loaded, config] = [this.#holder.current(), () => this.#holder.current().config];
    const siblings = this.#siblings();
    const parts = { known, published: backend.published, controlPlane, index, revoker, loaded, config, siblings };
    return openClients({ ...held, ...parts }, this.#closing);
  }

  async #openOAuth(
    stores: Stores,
    controlPlane: ControlPlane | undefined,
    parts: { follower: RevocationFollower; index: RevocationIndex } & Partial<OAuthChanges>,
  ): Promise<void> {
    const { revoker, announcer, ...revocation } = parts;
    const isWanted = this.#holder.current().config.proxy.endpoints.oauth;
    if (!isWanted || controlPlane === undefined || revoker === undefined || announcer === undefined) return;
    const held = { clock: this.#clock, log: this.#log, metrics: this.#metrics, current: () => this.#current };
    const { openOAuth } = await import('./app/oauth.ts');
    this.#oauth = openOAuth({ ...held, stores, controlPlane, revoker, announcer, ...revocation }, this.#closing);
  }

  #gate({ backend, redis }: Stores, follower: RevocationFollower, index: RevocationIndex): CheckGate {
    const counters = new MemoryChecks({ clock: this.#clock, head: () => undefined });
    return checkGate({
      clock: this.#clock,
      store: backend.checks,
      batched: redis !== undefined,
      local: new LocalLimits(counters, () => backend.replicas()),
      denied: this.#denied,
      follower,
      index,
      metrics: this.#metrics,
    });
  }

  #openPlane({ backend }: Stores, parts: Pick<PlaneParts, 'gate' | 'follower' | 'knownClients'>): void {
    const keep = (decision: KeptDecision) => {
      backend.decisions.keep(decision);
      this.#options.onRefusal?.(decision);
    };
    const held = { clock: this.#clock, log: this.#log, metrics: this.#metrics, current: () => this.#current };
    const isDraining = () => this.#draining !== undefined;
    const opened = openPlane({ ...held, ...parts, site: this.#oauth?.site, keep, isDraining });
    this.#open = this.#closing.use(opened.open);
    this.#plane = opened.plane;
  }

  async #openControlPlane(loaded: LoadedConfig): Promise<ControlPlane | undefined> {
    // A sidecar without PostgreSQL loads none of it: it starts sooner and stays smaller.
    const { config } = loaded;
    if (config.postgres === undefined) return undefined;
    const { openControlPlane } = await import('./app/control-plane.ts');
    const share = this.#pool && { postgres: postgresShare(config.postgres, this.#pool.figures().configured) };
    const plane = await openControlPlane({
      loaded: { ...loaded, config: { ...config, ...share } },
      primaryTrail: this.#options.seat?.trail,
      stateDir: this.stateDir,
      clock: this.#clock,
      log: this.#log,
      metrics: this.#metrics,
    });
    if (plane !== undefined) this.#closing.use(plane);
    return plane;
  }

  #observed(
    stores: Stores,
    controlPlane: ControlPlane | undefined,
    follower: RevocationFollower,
    index: RevocationIndex,
  ): ObservedParts {
    return {
      stateDir: this.stateDir,
      clock: this.#clock,
      metrics: this.#metrics,
      current: () => this.#current,
      ...{ stores, controlPlane, follower, index },
      open: this.#open,
      isDraining: () => this.#draining !== undefined,
    };
  }

  async #openAdmin(
    observed: ObservedParts,
    changes: Pick<Parameters<typeof openAdmin>[0], 'revoker' | 'announcer'>,
  ): Promise<void> {
    await claimSocketPath(this.socketPath);
    this.#admin = await openAdmin({
      ...observed,
      ...changes,
      socketPath: this.socketPath,
      log: this.#log,
      grants: this.#oauth?.desk,
      plane: this.#plane,
      pool: this.#pool,
      reload: () => this.reload(),
      drain: () => this.drain(),
    });
    this.#closing.use(this.#admin);
  }

  /** They open while this process does; the function says when they have, and is undefined with one process. */
  async #startWorkers(loaded: LoadedConfig, instanceId: string): Promise<(() => Promise<void>) | undefined> {
    const count = this.#options.seat === undefined ? workerCount(loaded) : 1;
    if (count === 1) return undefined;
    const { WorkerPool } = await import('./app/workers.ts');
    const held = { clock: this.#clock, log: this.#log, metrics: this.#metrics };
    this.#pool = new WorkerPool({ count, instanceId, config: () => this.#holder.current(), ...held });
    const opened = this.#pool.open();
    opened.catch(() => undefined);
    return () => opened;
  }

  #siblings(): Siblings | undefined {
    return this.#pool ?? this.#options.seat?.siblings;
  }

  #serveSeat(seat: WorkerSeat, observed: ObservedParts, known: KnownClients): void {
    let prepared: Current | undefined;
    seat.attach({
      ...observed,
      known,
      listen: async (port) => (await this.#listen(port)).url,
      prepare: (loaded) => {
        prepared = this.#compile(loaded);
      },
      decide: (what) => {
        const compiled = what === 'use' ? prepared : undefined;
        if (compiled === undefined) this.#switch(this.#compile(this.#current.loaded));
        else this.#holder.reload(() => this.#switch(compiled));
      },
      drain: () => this.drain(),
    });
  }

  async #listen(sharedPort?: number): Promise<ProxyPort> {
    this.#proxy = await openProxyPort(this.#holder.current(), this.#plane.handlers, sharedPort);
    return this.#closing.use(this.#proxy);
  }

  #compile(loaded: LoadedConfig): Current {
    const compiled = this.#generations.next(loaded);
    this.#proxy?.use(loaded);
    return compiled;
  }

  #followRelaxed(): void {
    const again = () => this.#switch(this.#compile(this.#holder.current()));
    const says = this.#options.seat === undefined;
    this.#relaxed = this.#closing.use(new Relaxed({ clock: this.#clock, log: this.#log, says, again }));
    // Not what the file says: a date may have passed since this was compiled.
    this.#relaxed.follow(this.#current.loaded);
  }

  /** From here on requests see it. */
  #switch(compiled: Current): void {
    const { loaded } = compiled;
    this.#current = compiled;
    for (const { keys } of this.#current.issuers.values()) void keys.warm();
    this.#denied.clear();
    this.#tracing.follow(loaded);
    this.#relaxed.follow(loaded);
    this.#plane.use(this.#current.generation);
    this.#admin?.use(loaded);
    if (this.#options.log === undefined) this.#log.level = loaded.config.log.level;
  }

  async #drainOnce(): Promise<boolean> {
    const { delay, timeout } = this.#current.loaded.config.proxy.drain;
    this.#log.info({ delay_ms: delay, timeout_ms: timeout }, 'drain_began');
    const complete = await (this.#pool?.drain() ?? this.#finish(delay, timeout));
    this.#log.info({ complete }, 'drain_ended');
    return complete;
  }

  async #finish(delay: number, timeout: number): Promise<boolean> {
    await new Promise((resolve) => setTimeout(resolve, delay));
    const closed = this.#proxy?.listener.close();
    this.#plane.endStreams();
    const deadline = new Promise<'late'>((resolve) => setTimeout(resolve, timeout, 'late').unref());
    const outcome = await Promise.race([Promise.all([this.#plane.idle(), closed]), deadline]);
    if (outcome === 'late') this.#proxy?.listener.destroy();
    await this.#tracing.flush();
    return outcome !== 'late';
  }
}
