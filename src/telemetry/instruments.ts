// Counters and histograms for the request path: a number is added, nothing else; prom-client reads them at the scrape. Its
// own instruments hash labels and make objects at every observation, which was a twentieth of a request's CPU.
import { Counter, type Metric, type Registry } from 'prom-client';

/** A counter with its label values fixed. */
export class Tally {
  total = 0;

  /** Adds `by`, default 1. */
  inc(by = 1): void {
    this.total += by;
  }
}

/** A counter by labels; hold on to what `labels` returns. */
export class TallyCounter<L extends string> {
  readonly #tallies = new Map<string, { readonly labels: Record<L, string>; readonly tally: Tally }>();
  readonly #names: readonly L[];

  constructor(registry: Registry, name: string, help: string, names: readonly L[]) {
    this.#names = names;
    const tallies = this.#tallies;
    const shown = new Counter({
      name,
      help,
      labelNames: names,
      registers: [registry],
      collect() {
        shown.reset();
        for (const { labels, tally } of tallies.values()) shown.inc(labels, tally.total);
      },
    });
  }

  /** The tally of these label values, in the order of the names. */
  labels(...values: readonly string[]): Tally {
    const key = values.join('\n');
    let found = this.#tallies.get(key);
    if (found === undefined) {
      const labels = Object.fromEntries(this.#names.map((name, at) => [name, values[at]])) as Record<L, string>;
      found = { labels, tally: new Tally() };
      this.#tallies.set(key, found);
    }
    return found.tally;
  }
}

/** A histogram of seconds without labels; registered beside prom-client's own metrics. */
export class SecondsHistogram {
  readonly name: string;
  readonly help: string;
  readonly type = 'histogram';
  readonly aggregator = 'sum';
  readonly #bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;

  constructor(registry: Registry, name: string, help: string, bounds: readonly number[]) {
    this.name = name;
    this.help = help;
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
    registry.registerMetric(this as unknown as Metric);
  }

  /** Adds one observation. */
  observe(seconds: number): void {
    let at = 0;
    while (at < this.#bounds.length && seconds > (this.#bounds[at] as number)) at += 1;
    this.#counts[at] = (this.#counts[at] as number) + 1;
    this.#sum += seconds;
  }

  /** Forgets everything; part of what a registry asks of a metric. */
  reset(): void {
    this.#counts.fill(0);
    this.#sum = 0;
  }

  /** What a scrape shows: cumulative buckets, sum and count. */
  async get() {
    const { name, help, type, aggregator } = this;
    const values: { metricName: string; labels: Record<string, string | number>; value: number }[] = [];
    let below = 0;
    for (const [at, count] of this.#counts.entries()) {
      below += count;
      values.push({ metricName: `${name}_bucket`, labels: { le: this.#bounds[at] ?? '+Inf' }, value: below });
    }
    values.push({ metricName: `${name}_sum`, labels: {}, value: this.#sum });
    values.push({ metricName: `${name}_count`, labels: {}, value: below });
    return { name, help, type, aggregator, values };
  }
}
