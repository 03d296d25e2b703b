// All endpoints of one upstream, and which of them take requests. Learns from connections (breaker), answers (ejection),
// checks (health) and lookups (names); everything that waits for time is done by sweep(). Which endpoint a request gets is
// balance.ts's; slots and queue are upstream.ts's.
import type { SecureContext } from 'node:tls';
import type { UpstreamConfig } from '../../../config/schema.ts';
import type { Clock } from '../../../core/clock.ts';
import { Connections } from '../http1/connections.ts';
import type { DialAddress } from '../http1/dial.ts';
import { Http2Connections } from '../http2/connections.ts';
import { Balance } from './balance.ts';
import { ejected, readmit } from './ejection.ts';
import { Endpoint, type EndpointState, OUT, rankOf } from './endpoint.ts';
import { HealthCheck, healthCheckHead } from './health-check.ts';
import { FollowedName, type Lookup } from './names.ts';
import { addressText, type Place, placeOf, serverNameOf } from './place.ts';

/** What is told of endpoints, for logs and metrics. */
export interface EndpointWatcher {
  /** Only changes between taking requests and not taking them. */
  onState(endpoint: Endpoint, before: EndpointState): void;
  onCheck(passed: boolean): void;
  onLookup(name: string, outcome: 'changed' | 'same' | 'failed'): void;
}

/** When a request went out, and when its answer began; monotonic ms. */
export interface Sent {
  readonly dispatchedAtMs: number;
  readonly answeredAtMs: number;
}

/** What endpoints rest on. */
export interface EndpointsOptions {
  readonly config: UpstreamConfig;
  /** Undefined unless a url is https. */
  readonly context: SecureContext | undefined;
  /** The Host of health checks. */
  readonly checkHost: string;
  readonly clock: Clock;
  readonly lookup: Lookup;
  readonly watcher: EndpointWatcher;
}

/** The endpoints. Has no timer of its own: {@link sweep} is called several times a second. */
export class Endpoints {
  /** True while no endpoint takes requests. */
  isOut = false;
  /** True where answers have to be told of: with one endpoint there is nothing to eject. */
  watchesAnswers = false;
  readonly #options: EndpointsOptions;
  readonly #balance: Balance;
  readonly #names: { readonly place: Place; readonly follower: FollowedName }[] = [];
  readonly #checkHead: string;
  #list: readonly Endpoint[];
  /** The one that is there, when it takes requests; spares the usual case every choice. */
  #only: Endpoint | undefined = undefined;
  #retired = false;

  constructor(options: EndpointsOptions) {
    const { config } = options;
    this.#options = options;
    this.#balance = new Balance(config.slow_start);
    this.#checkHead = healthCheckHead(config.health?.path ?? '/', options.checkHost);
    const places = config.url.map(placeOf);
    // Until the first lookup has answered, a name is an endpoint itself.
    this.#list = places.map((place) => this.#open(place, place.address));
    for (const place of places) if (place.name !== undefined) this.#follow(place, place.name);
    this.#settle();
  }

  /** All that there are now. */
  get list(): readonly Endpoint[] {
    return this.#list;
  }

  /** Where the next request goes; undefined when nothing (but `except`) takes requests. */
  pick(except?: Endpoint): Endpoint | undefined {
    if (this.#only !== undefined) return this.#only === except ? undefined : this.#only;
    return this.#balance.choose(this.#list, except, this.#options.clock.monotonicMs());
  }

  /** An answer with this status came, whole or not. Who answers is there, even if it takes no new connection. */
  answered(endpoint: Endpoint, status: number, { dispatchedAtMs, answeredAtMs }: Sent): void {
    this.#connected(endpoint);
    if (this.#options.config.ejection.statuses.includes(status)) this.failed(endpoint, dispatchedAtMs);
    else {
      endpoint.failures = 0;
      endpoint.answeredAtMs = answeredAtMs;
    }
  }

  /**
   * A request that was sent there got no answer, or a bad one. Where others were answered well meanwhile it says nothing of the
   * endpoint: a caller who sends many to a slow path would have it ejected when all of them time out at once.
   */
  failed(endpoint: Endpoint, dispatchedAtMs: number): void {
    if (dispatchedAtMs < endpoint.answeredAtMs) return;
    endpoint.failures += 1;
    const { config, clock } = this.#options;
    if (ejected(endpoint, this.#list, config.ejection, clock.monotonicMs())) this.#judge(endpoint);
  }

  /** Does what is due: lookups, checks, probes, and the end of ejections. */
  sweep(monotonicMs: number): void {
    for (const endpoint of this.#list) {
      endpoint.connections.sweep(monotonicMs);
      if (this.#retired) continue;
      if (endpoint.ejectedUntilMs > 0 && endpoint.ejectedUntilMs <= monotonicMs) this.#return(endpoint, monotonicMs);
      this.#probe(endpoint, monotonicMs);
      this.#check(endpoint, monotonicMs);
    }
    if (!this.#retired) for (const { follower } of this.#names) follower.sweep(monotonicMs);
  }

  /** No new requests come; connections close as they become idle. */
  retire(): void {
    this.#retired = true;
    for (const endpoint of this.#list) this.#dismiss(endpoint);
  }

  #open(place: Place, address: DialAddress): Endpoint {
    const { config, context, clock } = this.#options;
    const Pool = config.protocol === 'http2' ? Http2Connections : Connections;
    const connections = new Pool({
      address,
      tls: place.isTls && context !== undefined ? { context, serverName: serverNameOf(place, config) } : undefined,
      connectTimeoutMs: config.connect_timeout,
      keepAliveMs: config.keep_alive,
      maxAgeMs: config.max_age === 0 ? Number.POSITIVE_INFINITY : config.max_age,
      monotonicMs: () => clock.monotonicMs(),
      onConnected: () => this.#connected(endpoint),
      onUnreachable: () => this.#unreachable(endpoint),
    });
    const health = config.health === undefined ? 'unchecked' : 'untested';
    const endpoint = new Endpoint(place.url, addressText(address), connections, health);
    endpoint.state = endpoint.judged(config.breaker.failures);
    endpoint.rank = rankOf[endpoint.state];
    return endpoint;
  }

  #follow(place: Place, name: string): void {
    const { config, lookup, watcher } = this.#options;
    const follower = new FollowedName(name, config.dns_refresh, lookup, {
      found: (addresses) => watcher.onLookup(name, this.#replace(place, addresses) ? 'changed' : 'same'),
      failed: () => watcher.onLookup(name, 'failed'),
    });
    this.#names.push({ place, follower });
    follower.sweep(this.#options.clock.monotonicMs());
  }

  /** Takes over the addresses of one url; true when there is any change. */
  #replace(place: Place, hosts: readonly string[]): boolean {
    if (this.#retired) return false;
    const ours = this.#list.filter(({ url }) => url === place.url);
    const isFirst = ours.some(({ address }) => address === addressText(place.address));
    const wanted = new Map(hosts.map((host) => [addressText({ host, port: place.port }), host]));
    const left = ours.filter(({ address }) => !wanted.has(address));
    for (const { address } of ours) wanted.delete(address);
    if (left.length === 0 && wanted.size === 0) return false;
    const come = [...wanted.values()].map((host) => this.#open(place, { host, port: place.port }));
    if (!isFirst) for (const endpoint of come) this.#startSlowly(endpoint);
    this.#list = this.#list.filter((endpoint) => !left.includes(endpoint)).concat(come);
    for (const endpoint of left) this.#dismiss(endpoint);
    this.#settle();
    return true;
  }

  #dismiss(endpoint: Endpoint): void {
    endpoint.state = 'gone';
    endpoint.rank = OUT;
    endpoint.check?.[Symbol.dispose]();
    endpoint.connections.retire();
  }

  #connected(endpoint: Endpoint): void {
    if (endpoint.connectFailures === 0) return;
    endpoint.connectFailures = 0;
    this.#judge(endpoint);
  }

  #unreachable(endpoint: Endpoint): void {
    const { config, clock } = this.#options;
    endpoint.connectFailures += 1;
    if (endpoint.connectFailures === 1) endpoint.nextProbeMs = clock.monotonicMs() + config.breaker.probe;
    for (const { place, follower } of this.#names) if (place.url === endpoint.url) follower.doubt();
    this.#judge(endpoint);
  }

  /** Tries connections in the background, so that no request has to. */
  #probe(endpoint: Endpoint, monotonicMs: number): void {
    if (endpoint.connectFailures === 0 || endpoint.nextProbeMs > monotonicMs) return;
    endpoint.nextProbeMs = monotonicMs + this.#options.config.breaker.probe;
    endpoint.connections.probe();
  }

  #check(endpoint: Endpoint, monotonicMs: number): void {
    const rules = this.#options.config.health;
    if (rules === undefined || endpoint.check !== undefined || endpoint.nextCheckMs > monotonicMs) return;
    endpoint.nextCheckMs = monotonicMs + rules.interval;
    endpoint.check = new HealthCheck(endpoint.connections.acquire(true), this.#checkHead, rules, (passed) => {
      endpoint.check = undefined;
      this.#options.watcher.onCheck(passed);
      this.#checked(endpoint, passed);
    });
  }

  /** The first check decides at once, later ones when enough of them agree. */
  #checked(endpoint: Endpoint, passed: boolean): void {
    const { health } = this.#options.config;
    const isContrary = passed !== (endpoint.health === 'healthy');
    endpoint.contrary = isContrary ? endpoint.contrary + 1 : 0;
    const needed = (passed ? health?.healthy : health?.unhealthy) ?? 1;
    if (endpoint.health !== 'untested' && endpoint.contrary < needed) return;
    endpoint.contrary = 0;
    endpoint.health = passed ? 'healthy' : 'unhealthy';
    this.#judge(endpoint);
  }

  #return(endpoint: Endpoint, monotonicMs: number): void {
    readmit(endpoint, monotonicMs);
    this.#judge(endpoint);
  }

  #startSlowly(endpoint: Endpoint): void {
    endpoint.rampFromMs = this.#options.clock.monotonicMs();
    endpoint.credit = 0;
  }

  #judge(endpoint: Endpoint): void {
    const before = endpoint.state;
    const state = endpoint.judged(this.#options.config.breaker.failures);
    if (state === before) return;
    const wasOut = endpoint.rank === OUT;
    endpoint.state = state;
    endpoint.rank = rankOf[state];
    if (wasOut && endpoint.rank !== OUT) this.#startSlowly(endpoint);
    this.#settle();
    if (wasOut !== (endpoint.rank === OUT)) this.#options.watcher.onState(endpoint, before);
  }

  /** The others left or broke: an endpoint that did badly is better than none, so all ejections end. */
  #readmitted(): Endpoint[] {
    for (const endpoint of this.#list.filter(({ ejectedUntilMs }) => ejectedUntilMs > 0)) {
      readmit(endpoint, this.#options.clock.monotonicMs());
      endpoint.state = endpoint.judged(this.#options.config.breaker.failures);
      endpoint.rank = rankOf[endpoint.state];
    }
    return this.#list.filter(({ rank }) => rank !== OUT);
  }

  /** Keeps at hand what every request asks. */
  #settle(): void {
    let taking = this.#list.filter(({ rank }) => rank !== OUT);
    if (taking.length === 0) taking = this.#readmitted();
    this.isOut = taking.length === 0;
    this.#only = this.#list.length === 1 ? taking[0] : undefined;
    this.watchesAnswers = this.#list.length > 1 && this.#options.config.ejection.failures > 0;
  }
}
