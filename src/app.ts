// The composition root: a configuration in, running servers out. Opens everything in order, hands each part what it needs,
// switches to a new configuration on reload, and drains. Parts of it stand in app/.
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { openAdmin } from './app/admin.ts';
import { openClients } from './app/clients.ts';
import type { ControlPlane } from './app/control-plane.ts';
import { routeRows } from './app/desks.ts';
import { type Current, type Generations, generations } from './app/generations.ts';
import type { OpenedOAuth } from './app/oauth.ts';
import { openProxyPort, type ProxyPort } from './app/proxy-port.ts';
import { openPublishing } from './app/publishing.ts';
import { claimSocketPath } from './app/socket-path.ts';
import { openStores, type Stores } from './app/stores.ts';
import type { ClientAnnouncer } from './clients/announcer.ts';
import { loadConfig } from './config/load.ts';
import type { LoadedConfig } from './config/loaded.ts';
import { ConfigError } from './config/problem.ts';
import { type ConfigHolder, holdConfig, type ReloadOutcome } from './config/reload.ts';
import { resolveBeside } from './config/secrets.ts';
import { type ConfigWatch, watchConfig } from './config/watch.ts';
import { type Clock, systemClock } from './core/clock.ts';
import { KnownClients } from './limits/clients.ts';
import { DeniedKeys } from './limits/denied.ts';
import { LocalLimits } from './limits/local.ts';
import { type CheckGate, checkGate } from './proxy/decide/check-gate.ts';
import { type OpenExchanges, openExchanges } from './proxy/open-exchanges.ts';
import { answerer } from './proxy/outbound/answer.ts';
import type { Lookup } from './proxy/outbound/endpoints/names.ts';
import { type DataPlane, dataPlane } from './proxy/server.ts';
import { DurableRevoker, rememberedRevocations } from './revocation/durable.ts';
import { RevocationFollower } from './revocation/follower.ts';
import { RevocationIndex } from './revocation/index.ts';
import type { RevocationDraft } from './stores/contracts/revocations.ts';
import { MemoryChecks } from './stores/memory/checks.ts';
import { decisionRecorder } from './telemetry/decision.ts';
import { type Log, openLog } from './telemetry/log.ts';
import { type Metrics, openMetrics } from './telemetry/metrics.ts';

/** What a start needs. */
export interface SidecarOptions {
  readonly file: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Default: JSON lines on standard output at the configured level. */
  readonly log?: Log;
  /** Told of every refusal, as it is kept for `doorward why`. */
  /** Resolves host names of upstreams; default: the system's resolver. */
  readonly lookup?: Lookup;
  readonly onRefusal?: (decision: Readonly<Record<string, unknown>>) => void;
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
  reload(): ReloadOutcome;
  /** Fails readiness, serves on for `drain.delay`, stops accepting, finishes, closes streams with 1001; then all is closed. */
  drain(): Promise<void>;
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
  readonly revoker: DurableRevoker | undefined;
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
  #proxy!: ProxyPort;
  #admin!: Awaited<ReturnType<typeof openAdmin>>;
  #watch!: ConfigWatch;
  #draining: Promise<void> | undefined;

  constructor(options: SidecarOptions, clock: Clock) {
    const load = () => loadConfig({ file: options.file, env: options.env });
    const first = load();
    this.#options = options;
    this.#clock = clock;
    this.#log = options.log ?? openLog(first.config.log.level);
    this.#holder = holdConfig(first, load);
    this.stateDir = resolveBeside(options.file, first.config.state_dir);
    this.socketPath = join(this.stateDir, 'admin.sock');
    this.adminTokenFile = join(this.stateDir, 'admin.token');
  }

  get proxyUrl(): string {
    return this.#proxy.url;
  }

  get adminUrl(): string | undefined {
    return this.#admin.adminUrl;
  }

  get observeUrl(): string | undefined {
    return this.#admin.observeUrl;
  }

  routes = () => routeRows(() => this.#current);

  async open(): Promise<void> {
    const first = this.#holder.current();
    mkdirSync(this.stateDir, { recursive: true, mode: 0o700 });
    chmodSync(this.stateDir, 0o700);
    for (const warning of first.warnings)
      this.#log.warn({ problem: warning.message, place: warning.place }, 'config_warning');
    let follower: RevocationFollower | undefined;
    const stores = await openStores(first, this.#clock, () => follower?.refresh());
    this.#closing.use(stores.backend);
    const controlPlane = await this.#openControlPlane(first);
    const index = new RevocationIndex();
    this.#denied = new DeniedKeys(this.#clock);
    follower = this.#follow(stores, index, controlPlane);
    this.#closing.use(follower);
    await follower.start();
    const revoker = await this.#revokeDurably(stores, index, follower, controlPlane);
    const knownClients = new KnownClients(() => this.#denied.clear());
    const announcer = await this.#openClients(knownClients, stores, controlPlane, index, revoker);
    const gate = this.#gate(stores, follower, index);
    this.#generations = generations({
      clock: this.#clock,
      log: this.#log,
      metrics: this.#metrics,
      gate,
      stateDir: this.stateDir,
      ownKeys: controlPlane?.ownKeys,
      publishedKeys: await this.#openPublishing(first, stores, controlPlane),
      knownClients,
      lookup: this.#options.lookup,
    });
    this.#closing.use(this.#generations);
    this.#current = this.#generations.next(first);
    await Promise.all([...this.#current.issuers.values()].map(({ keys }) => keys.warm()));
    await this.#openOAuth(stores, controlPlane, { follower, index, revoker, announcer });
    this.#openPlane(stores, gate, index);
    this.#proxy = await openProxyPort(first, this.#plane.handlers);
    this.#closing.use(this.#proxy);
    await this.#openAdmin(stores, controlPlane, { follower, index, revoker, announcer });
    this.#followFiles();
    this.#log.info(
      { proxy: this.proxyUrl, admin: this.adminUrl, observe: this.observeUrl, socket: this.socketPath },
      'listening',
    );
  }

  reload(): ReloadOutcome {
    const outcome = this.#holder.reload((next) => this.#apply(next));
    this.#metrics.configReloadSuccess.set(outcome.ok ? 1 : 0);
    this.#watch.follow(this.#holder.current());
    if (outcome.ok) {
      this.#metrics.configRestartNeeded.set(outcome.restartNeeded.length > 0 ? 1 : 0);
      this.#noteHash();
      this.#log.info({ changed: outcome.changed, restart_needed: outcome.restartNeeded }, 'config_reloaded');
    } else {
      const problems = outcome.problems.map(({ place, path, message }) => `${place} ${path}: ${message}`);
      this.#log.error({ problems }, 'config_reload_refused');
    }
    return outcome;
  }

  drain(): Promise<void> {
    this.#draining ??= this.#drainOnce();
    return this.#draining;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#plane?.close();
    await this.#closing.disposeAsync();
  }

  #follow(
    { backend, redis }: Stores,
    index: RevocationIndex,
    controlPlane: ControlPlane | undefined,
  ): RevocationFollower {
    const holder = this.#holder;
    const remembered = controlPlane && (() => rememberedRevocations(controlPlane.revocations, this.#clock));
    return new RevocationFollower({
      log: backend.revocations,
      index,
      clock: this.#clock,
      // Live settings: read at each use.
      get onStoreDown() {
        return holder.current().config.revocation.on_store_down;
      },
      get knownForMs() {
        return holder.current().config.revocation.known_for;
      },
      waitMs: redis === undefined ? 1000 : (holder.current().config.redis?.timeout ?? 50),
      ...(remembered && { remembered }),
      onLimitReset: (key) => this.#denied.forget(key),
      onPropagation: (ms) => this.#metrics.revocationPropagation.observe(ms / 1000),
    });
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
    revoker: DurableRevoker | undefined,
  ): Promise<ClientAnnouncer | undefined> {
    const held = { clock: this.#clock, log: this.#log, metrics: this.#metrics };
    const [loaded, config] = [this.#holder.current(), () => this.#holder.current().config];
    const parts = { known, published: backend.published, controlPlane, index, revoker, loaded, config };
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

  async #revokeDurably(
    { backend }: Stores,
    index: RevocationIndex,
    follower: RevocationFollower,
    controlPlane: ControlPlane | undefined,
  ): Promise<DurableRevoker | undefined> {
    if (controlPlane === undefined) return undefined;
    const { postgres, revocations: store, grants } = controlPlane;
    const { endGrantsOf } = await import('./app/oauth.ts');
    const endGrants = (draft: RevocationDraft) => endGrantsOf(draft, grants, this.#clock.nowMs());
    const parts = { store, log: backend.revocations, follower, index, clock: this.#clock, endGrants };
    const revoker = new DurableRevoker(parts);
    this.#closing.use(revoker);
    // The follower has asked already when PostgreSQL was there at the start; what it missed before it came it asks now.
    postgres.onReady(() => follower.refresh());
    return revoker;
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

  #openPlane({ backend }: Stores, gate: CheckGate, index: RevocationIndex): void {
    this.#open = openExchanges({
      nowMs: () => this.#clock.nowMs(),
      monotonicMs: () => this.#clock.monotonicMs(),
      revocationGeneration: () => index.generation,
      isRevoked: (token) => gate.isRevoked(token),
    });
    const open = this.#open;
    this.#closing.use(open);
    const recorder = decisionRecorder({
      log: this.#log,
      metrics: this.#metrics,
      settings: () => {
        const { decisions, subject } = this.#current.loaded.config.log;
        return { ...decisions, subject };
      },
      keep: (decision) => {
        backend.decisions.keep(decision);
        this.#options.onRefusal?.(decision);
      },
      nowMs: () => this.#clock.nowMs(),
    });
    const answers = answerer({
      clock: this.#clock,
      open,
      recorder,
      metrics: this.#metrics,
      isDraining: () => this.#draining !== undefined,
    });
    this.#plane = dataPlane({
      generation: this.#current.generation,
      answerer: answers,
      open,
      clock: this.#clock,
      site: this.#oauth?.site,
      onParserRefusal: (reason, requestId, peer) => answers.parserRefused(reason, requestId, peer),
      onHandshakeFailed: (cause) => this.#metrics.handshakesFailed.labels(cause).inc(),
    });
  }

  async #openControlPlane(loaded: LoadedConfig): Promise<ControlPlane | undefined> {
    // A sidecar without PostgreSQL loads none of it: it starts sooner and stays smaller.
    if (loaded.config.postgres === undefined) return undefined;
    const { openControlPlane } = await import('./app/control-plane.ts');
    const plane = await openControlPlane({
      loaded,
      stateDir: this.stateDir,
      clock: this.#clock,
      log: this.#log,
      metrics: this.#metrics,
    });
    if (plane !== undefined) this.#closing.use(plane);
    return plane;
  }

  async #openAdmin(
    stores: Stores,
    controlPlane: ControlPlane | undefined,
    revocation: Pick<Parameters<typeof openAdmin>[0], 'follower' | 'index' | 'revoker' | 'announcer'>,
  ): Promise<void> {
    await claimSocketPath(this.socketPath);
    this.#admin = await openAdmin({
      stateDir: this.stateDir,
      socketPath: this.socketPath,
      clock: this.#clock,
      log: this.#log,
      metrics: this.#metrics,
      current: () => this.#current,
      stores,
      controlPlane,
      grants: this.#oauth?.desk,
      ...revocation,
      plane: this.#plane,
      open: this.#open,
      reload: () => this.reload(),
      drain: () => this.drain(),
      isDraining: () => this.#draining !== undefined,
    });
    this.#closing.use(this.#admin);
  }

  #followFiles(): void {
    this.#watch = watchConfig(this.#holder.current(), () => void this.reload());
    this.#closing.use(this.#watch);
    this.#metrics.configReloadSuccess.set(1);
    this.#noteHash();
  }

  #noteHash(): void {
    this.#metrics.configHash.set(Number.parseInt(this.#current.loaded.hash.slice(0, 12), 16));
  }

  /** Switches over; a key or secret that turns out to be unusable refuses the reload like any other problem. */
  #apply(loaded: LoadedConfig): void {
    try {
      this.#current = this.#generations.next(loaded);
      this.#proxy.use(loaded);
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : 'cannot be used';
      throw new ConfigError([{ place: loaded.file, path: '', message, nearest: undefined }], { cause });
    }
    for (const { keys } of this.#current.issuers.values()) void keys.warm();
    this.#denied.clear();
    this.#plane.use(this.#current.generation);
    this.#admin.use(loaded);
    if (this.#options.log === undefined) this.#log.level = loaded.config.log.level;
  }

  async #drainOnce(): Promise<void> {
    const { delay, timeout } = this.#current.loaded.config.proxy.drain;
    this.#log.info({ delay_ms: delay, timeout_ms: timeout }, 'drain_began');
    await new Promise((resolve) => setTimeout(resolve, delay));
    const closed = this.#proxy.listener.close();
    this.#plane.endStreams();
    const deadline = new Promise<'late'>((resolve) => setTimeout(resolve, timeout, 'late').unref());
    const outcome = await Promise.race([Promise.all([this.#plane.idle(), closed]), deadline]);
    if (outcome === 'late') this.#proxy.listener.destroy();
    this.#log.info({ complete: outcome !== 'late' }, 'drain_ended');
  }
}
