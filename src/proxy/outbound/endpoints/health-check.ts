// One active check of one endpoint: a GET on a connection of its own, outside of the request path, and its verdict. How many
// of them make an endpoint healthy is counted in endpoints.ts.
import type { UpstreamConfig } from '../../../config/schema.ts';
import { PeerTimeout } from '../../../core/peer-timeout.ts';
import type { ResponseReader } from '../http1/connection.ts';
import type { ResponseHead } from '../http1/response-head.ts';
import type { UpstreamConnection } from '../upstream-connection.ts';

/** Settings of `health`. */
export type HealthRules = NonNullable<UpstreamConfig['health']>;

/** The head of the request, which is the same for all checks of one upstream. */
export const healthCheckHead = (path: string, host: string) =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nUser-Agent: doorward-health-check\r\nConnection: close\r\n\r\n`;

/** A check under way; disposing it ends it without a verdict. */
export class HealthCheck implements ResponseReader, Disposable {
  readonly #connection: UpstreamConnection;
  readonly #rules: HealthRules;
  readonly #verdict: (passed: boolean) => void;
  readonly #timeout: PeerTimeout;

  /** Takes `connection` for itself, and calls `verdict` once. */
  constructor(connection: UpstreamConnection, head: string, rules: HealthRules, verdict: (passed: boolean) => void) {
    this.#connection = connection;
    this.#rules = rules;
    this.#verdict = verdict;
    this.#timeout = new PeerTimeout(rules.timeout, () => this.#end(false));
    connection.send(head, 'GET', false, this);
  }

  onHead({ status }: ResponseHead): void {
    const { status: wanted } = this.#rules;
    this.#end(wanted === undefined ? status >= 200 && status < 300 : wanted.includes(status));
  }

  onFailure(): void {
    this.#end(false);
  }

  onConnect(): void {}
  onData(): void {}
  onEnd(): void {}
  onPause(): void {}
  onDrain(): void {}

  [Symbol.dispose](): void {
    this.#timeout.clear();
    this.#connection.destroy();
  }

  #end(passed: boolean): void {
    this[Symbol.dispose]();
    this.#verdict(passed);
  }
}
