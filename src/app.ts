// The composition root: a configuration in, running servers out. Opens everything in order, hands each part what it needs, and
// closes it again. What the parts do stands in app/.
import { join } from 'node:path';
import { type AdminPorts, openAdmin } from './app/admin.ts';
import { logTrail } from './app/audit.ts';
import { routeRows } from './app/desks.ts';
import { Draining } from './app/draining.ts';
import { type Foundation, type Ground, openFoundation } from './app/foundation.ts';
import type { Current } from './app/generations.ts';
import { HealthLog } from './app/health-log.ts';
import type { OpenedOAuth } from './app/oauth.ts';
import type { ObservedParts } from './app/observation.ts';
import { openPlane } from './app/plane.ts';
import { openProxyPort, type ProxyPort } from './app/proxy-port.ts';
import { Relaxed } from './app/relaxed.ts';
import { Reloading } from './app/reloading.ts';
import type { Sidecar, SidecarOptions } from './app/sidecar.ts';
import { claimSocketPath, prepareStateDir } from './app/socket-path.ts';
import { openSwitching, type Switching } from './app/switching.ts';
import { twoSteps } from './app/together.ts';
import { factsNow } from './app/together-seen.ts';
import { Tracing } from './app/tracing.ts';
import type { WorkerSeat } from './app/worker-seat.ts';
import { startWorkers } from './app/worker-start.ts';
import type { WorkerPool } from './app/workers.ts';
import { loadConfig } from './config/load.ts';
import type { LoadedConfig } from './config/loaded.ts';
import { requireProduction } from './config/production.ts';
import { type ConfigHolder, holdConfig, type ReloadOutcome } from './config/reload.ts';
import { resolveBeside } from './config/secrets.ts';
import { type Clock, systemClock } from './core/clock.ts';
import { randomId } from './core/ids.ts';
import type { OpenExchanges } from './proxy/open-exchanges.ts';
import type { DataPlane } from './proxy/server.ts';
import type { KeptDecision } from './stores/contracts/decisions.ts';
import { openLog } from './telemetry/log.ts';
import { openMetrics } from './telemetry/metrics.ts';

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

/** One replica's parts, in the order in which they are opened. */
class Replica implements Sidecar {
  readonly stateDir: string;
  readonly socketPath: string;
  readonly adminTokenFile: string;
  readonly #options: SidecarOptions;
  readonly #ground: Ground;
  readonly #holder: ConfigHolder;
  readonly #closing = new AsyncDisposableStack();
  /** Only in the primary of several processes. */
  #pool: WorkerPool | undefined;
  #switching!: Switching;
  #draining!: Draining;
  #open: OpenExchanges | undefined;
  #plane!: DataPlane;
  #reloading!: Reloading;
  /** Undefined where workers have it. */
  #proxy: ProxyPort | undefined;
  /** Undefined in a worker. */
  #admin: AdminPorts | undefined;

  constructor(options: SidecarOptions, clock: Clock) {
    const { seat } = options;
    const load = seat ? () => seat.loaded() : () => this.#load();
    this.#options = options;
    const first = load();
    const log = options.log ?? openLog(first.config.log.level, undefined, seat && { worker: seat.number });
    this.#ground = { clock, log, metrics: openMetrics() };
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

  get failed(): Promise<Error> {
    return this.#pool?.failed ?? new Promise(() => undefined);
  }

  routes = () => routeRows(this.#switching.current);

  reload(): Promise<ReloadOutcome> {
    return this.#reloading.reload();
  }

  drain(): Promise<boolean> {
    return this.#draining.drain();
  }

  async open(): Promise<void> {
    const { seat } = this.#options;
    const { clock, log } = this.#ground;
    const first = this.#holder.current();
    const instanceId = seat?.instanceId ?? randomId();
    if (seat === undefined) prepareStateDir(this.stateDir, first, log);
    const workers = await startWorkers({ ...this.#ground, seat, instanceId, config: () => this.#holder.current() });
    this.#pool = workers?.pool;
    const health = seat === undefined ? new HealthLog(log, clock) : undefined;
    const foundation = await this.#openFoundation(instanceId, health);
    const tracing = this.#closing.use(new Tracing(this.#ground));
    this.#switching = this.#openSwitching(foundation, tracing);
    await this.#switching.warmKeys();
    const { current } = this.#switching;
    const [plane, proxy] = [() => this.#plane, () => this.#proxy];
    this.#draining = new Draining({ log, tracing, current, plane, proxy, pool: this.#pool });
    const oauth = await this.#openOAuth(foundation);
    this.#open = this.#openPlane(foundation, oauth);
    const observed = this.#observed(foundation, this.#open);
    this.#reloading = this.#openReloading(this.#switching);
    this.#followInLog(this.#switching);
    if (seat !== undefined) return this.#serveSeat(seat, observed, foundation);
    if (this.#pool === undefined) await this.#listen();
    await this.#openAdmin(observed, foundation, oauth);
    await workers?.opened;
    await this.#serveWorkers(foundation);
    this.#reloading.followFiles();
    const { proxyUrl, adminUrl: admin, observeUrl: observe, socketPath: socket } = this;
    log.info({ proxy: proxyUrl, admin, observe, socket, workers: this.#pool?.figures().serving }, 'listening');
    if (health !== undefined) this.#closing.use(health).follow(() => factsNow(observed, this.#pool));
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

  #openFoundation(instanceId: string, health: HealthLog | undefined): Promise<Foundation> {
    const { seat } = this.#options;
    const parts = {
      ...this.#ground,
      loaded: this.#holder.current(),
      config: () => this.#holder.current().config,
      stateDir: this.stateDir,
      instanceId,
      siblings: this.#pool ?? seat?.siblings,
      workers: this.#pool?.figures().configured,
      primaryTrail: seat?.trail,
      health,
    };
    return openFoundation(parts, this.#closing);
  }

  #openSwitching(foundation: Foundation, tracing: Tracing): Switching {
    const parts = {
      ...{ ...this.#ground, foundation, tracing },
      first: this.#holder.current(),
      stateDir: this.stateDir,
      lookup: this.#options.lookup,
      proxy: () => this.#proxy,
      open: () => this.#open,
    };
    return openSwitching(parts, this.#closing);
  }

  async #openOAuth(foundation: Foundation): Promise<OpenedOAuth | undefined> {
    const { stores, controlPlane, follower, index, revoker, announcer } = foundation;
    const isWanted = this.#holder.current().config.proxy.endpoints.oauth;
    if (!isWanted || controlPlane === undefined || revoker === undefined || announcer === undefined) return undefined;
    const { openOAuth } = await import('./app/oauth.ts');
    const parts = { stores, controlPlane, follower, index, revoker, announcer, current: this.#switching.current };
    return openOAuth({ ...this.#ground, ...parts }, this.#closing);
  }

  #openPlane({ stores, gate, follower, knownClients }: Foundation, oauth: OpenedOAuth | undefined): OpenExchanges {
    const { plane, open } = openPlane({
      ...{ ...this.#ground, gate, follower, knownClients },
      current: this.#switching.current,
      site: oauth?.site,
      keep: (decision: KeptDecision) => {
        stores.backend.decisions.keep(decision);
        this.#options.onRefusal?.(decision);
      },
      isDraining: () => this.#draining.hasBegun,
    });
    this.#plane = plane;
    this.#switching.follow(({ generation }) => plane.use(generation));
    return this.#closing.use(open);
  }

  #observed({ stores, controlPlane, follower, index }: Foundation, open: OpenExchanges): ObservedParts {
    const { clock, metrics } = this.#ground;
    const [{ stateDir }, { current }] = [this, this.#switching];
    const isDraining = () => this.#draining.hasBegun;
    return { ...{ stores, controlPlane, follower, index, open }, stateDir, clock, metrics, current, isDraining };
  }

  #openReloading(switching: Switching): Reloading {
    const { log, metrics } = this.#ground;
    const steps = {
      compile: (loaded: LoadedConfig) => switching.compile(loaded),
      switchTo: (compiled: Current) => switching.switchTo(compiled),
    };
    return this.#closing.use(new Reloading({ ...steps, holder: this.#holder, log, metrics, pool: this.#pool }));
  }

  /** What the log says of the configuration in force, and after that how much it says. */
  #followInLog(switching: Switching): void {
    const { clock, log } = this.#ground;
    const again = () => switching.switchTo(switching.compile(this.#holder.current()));
    const relaxed = this.#closing.use(new Relaxed({ clock, log, says: this.#options.seat === undefined, again }));
    // Not what the file says: a date may have passed since this was compiled.
    relaxed.follow(switching.current().loaded);
    switching.follow(({ loaded }) => {
      relaxed.follow(loaded);
      if (this.#options.log === undefined) log.level = loaded.config.log.level;
    });
  }

  #serveSeat(seat: WorkerSeat, observed: ObservedParts, { knownClients: known }: Foundation): void {
    const listen = async (port: number) => (await this.#listen(port)).url;
    const steps = twoSteps(this.#holder, this.#switching);
    seat.attach({ ...observed, ...steps, known, listen, drain: () => this.drain() });
  }

  async #listen(sharedPort?: number): Promise<ProxyPort> {
    this.#proxy = await openProxyPort(this.#holder.current(), this.#plane.handlers, sharedPort);
    return this.#closing.use(this.#proxy);
  }

  async #openAdmin(
    observed: ObservedParts,
    { revoker, announcer }: Foundation,
    oauth: OpenedOAuth | undefined,
  ): Promise<void> {
    await claimSocketPath(this.socketPath);
    const admin = await openAdmin({
      ...{ ...observed, revoker, announcer },
      socketPath: this.socketPath,
      log: this.#ground.log,
      grants: oauth?.desk,
      plane: this.#plane,
      pool: this.#pool,
      reload: () => this.reload(),
      drain: () => this.drain(),
    });
    this.#admin = this.#closing.use(admin);
    this.#switching.follow(({ loaded }) => admin.use(loaded));
  }

  async #serveWorkers({ controlPlane, follower, knownClients: known }: Foundation): Promise<void> {
    const trail = controlPlane?.trail ?? logTrail(this.#ground.log, this.#ground.metrics);
    await this.#pool?.listen({ trail, follower, known });
  }
}
