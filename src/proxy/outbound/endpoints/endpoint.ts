// One address of an upstream: its connections, and what is known of how it does. It only remembers; what follows from a
// failure, a check or an ejection is decided in endpoints.ts.
import type { UpstreamConnections } from '../upstream-connection.ts';

/**
 * `up`: takes requests. `doubtful`: takes them only where none is up, because it has not been checked yet or a connection to
 * it just failed. The others take none: `unreachable` until a connection can be made again, `unhealthy` until its checks
 * pass, `ejected` until its time is over, `gone` for ever.
 */
export type EndpointState = 'up' | 'doubtful' | 'unreachable' | 'unhealthy' | 'ejected' | 'gone';

/** How soon an endpoint is chosen: the lower first, {@link OUT} never. */
export const rankOf: Readonly<Record<EndpointState, number>> = {
  up: 0,
  doubtful: 1,
  unreachable: 2,
  unhealthy: 2,
  ejected: 2,
  gone: 2,
};

/** Rank of what takes no requests. */
export const OUT = 2;

/** What active checks have found; `untested` before the first, `unchecked` where there are none. */
export type Health = 'unchecked' | 'untested' | 'healthy' | 'unhealthy';

/** An endpoint. All times are monotonic ms. */
export class Endpoint {
  /** The url that it comes from, as configured. */
  readonly url: string;
  /** `host:port` or the path of a socket. */
  readonly address: string;
  readonly connections: UpstreamConnections;
  /** Requests and streams under way. */
  active = 0;
  state: EndpointState = 'up';
  rank = 0;
  /** Connections in a row that could not be made, without any answer in between. */
  connectFailures = 0;
  /** Requests in a row without a good answer. */
  failures = 0;
  /** When the last good answer came, where answers are watched. */
  answeredAtMs = Number.NEGATIVE_INFINITY;
  health: Health;
  /** Checks in a row that speak against `health`. */
  contrary = 0;
  nextCheckMs = 0;
  /** The check under way. */
  check: Disposable | undefined = undefined;
  nextProbeMs = 0;
  /** 0 when it is not ejected. */
  ejectedUntilMs = 0;
  /** Ejections that followed each other closely; each lasts longer than the one before. */
  ejections = 0;
  /** When its last ejection ended. */
  returnedAtMs = Number.NEGATIVE_INFINITY;
  /** Slow start began then; -Infinity without. */
  rampFromMs = Number.NEGATIVE_INFINITY;
  /** Part of a turn that slow start has saved up for it. */
  credit = 0;
  /** The choice in which it gave way to the others (balance.ts). */
  asideIn = 0;

  constructor(url: string, address: string, connections: UpstreamConnections, health: Health) {
    this.url = url;
    this.address = address;
    this.connections = connections;
    this.health = health;
  }

  /** What follows from all that is remembered; `unreachableFrom` is `breaker.failures`. */
  judged(unreachableFrom: number): EndpointState {
    if (this.state === 'gone') return 'gone';
    if (this.ejectedUntilMs > 0) return 'ejected';
    if (this.health === 'unhealthy') return 'unhealthy';
    if (this.connectFailures >= unreachableFrom) return 'unreachable';
    return this.connectFailures > 0 || this.health === 'untested' ? 'doubtful' : 'up';
  }
}
