// Traces of this process: opens the way to the collector when a configuration first asks for it, follows reloads, and sends
// what is left when the process drains. Nothing of it exists without `tracing`.
import type { LoadedConfig } from '../config/loaded.ts';
import type { TracingConfig } from '../config/schema-tracing.ts';
import type { Clock } from '../core/clock.ts';
import { randomId } from '../core/ids.ts';
import type { TracePlan } from '../proxy/tracing.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { TraceExporter, type TraceObserver, type TraceTarget } from '../telemetry/trace-exporter.ts';
import { envelope } from '../telemetry/trace-otlp.ts';
import { RELEASE } from './release.ts';

/** How long a process that ends waits for the collector. */
const FLUSH_MS = 2000;
const DEFAULT_PATH = '/v1/traces';

/** The traces of a process. */
export class Tracing implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #observer: TraceObserver;
  readonly #instance = randomId();
  #exporter: TraceExporter | undefined;

  constructor({ clock, log, metrics }: { readonly clock: Clock; readonly log: Log; readonly metrics: Metrics }) {
    this.#clock = clock;
    this.#observer = {
      count: (outcome, spans) => metrics.traceSpans.labels(outcome).inc(spans),
      trouble(why) {
        if (why === undefined) log.info({}, 'traces_delivered_again');
        else log.warn({ why }, 'traces_not_delivered');
      },
    };
  }

  /** What requests of this configuration do; undefined without `tracing`. */
  plan(loaded: LoadedConfig): TracePlan | undefined {
    const { tracing } = loaded.config;
    if (tracing === undefined) return undefined;
    const exporter = this.#exporter ?? new TraceExporter(this.#target(tracing, loaded), this.#observer);
    this.#exporter = exporter;
    const { believe, ratio } = tracing;
    return { believe, ratio, clock: this.#clock, random: Math.random, add: (spans) => exporter.add(spans) };
  }

  /** The configuration is in force: spans go where it says from the next message on. */
  follow(loaded: LoadedConfig): void {
    const { tracing } = loaded.config;
    if (tracing !== undefined) this.#exporter?.use(this.#target(tracing, loaded));
  }

  /** Sends what is there; resolves after two seconds at the latest. */
  async flush(): Promise<void> {
    await this.#exporter?.flush(FLUSH_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#exporter?.[Symbol.asyncDispose]();
  }

  #target(tracing: TracingConfig, { config, secrets }: LoadedConfig): TraceTarget {
    const url = new URL(tracing.endpoint);
    if (url.pathname === '/') url.pathname = DEFAULT_PATH;
    const headers = Object.entries(tracing.headers).map(([name, value]) => [name, secrets.get(value)] as const);
    const resource = {
      'service.name': tracing.service ?? config.name ?? 'doorward',
      'service.instance.id': this.#instance,
      'service.version': RELEASE,
      ...tracing.attributes,
    };
    return {
      url: url.href,
      headers: Object.fromEntries(headers),
      ca: tracing.tls?.ca && secrets.get(tracing.tls.ca),
      timeoutMs: tracing.timeout,
      queue: tracing.queue,
      envelope: envelope(resource, RELEASE),
    };
  }
}
