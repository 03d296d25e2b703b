// Counters and histograms for the request path: a number is added, nothing else; prom-client reads them at the scrape. Its
// own instruments hash labels and make objects at every observation, which was a twentieth of a request's CPU.
import { Counter, Histogram, type Registry } from 'prom-client';

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

/** A histogram of seconds without labels. */
export class SecondsHistogram extends Histogram {
  readonly #bounds: readonly number[];
  readonly #counts: Float64Array;
  readonly #name: string;
  readonly #help: string;
  #sum = 0;

  constructor(registry: Registry, name: string, help: string, bounds: readonly number[]) {
    super({ name, help, buckets: [...bounds], registers: [registry] });
    this.#name = name;
    this.#help = help;
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  /** Adds one observation. */
  override observe(seconds: unknown): void {
    const value = seconds as number;
    let at = 0;
    while (at < this.#bounds.length && value > (this.#bounds[at] as number)) at += 1;
    this.#counts[at] = (this.#counts[at] as number) + 1;
    this.#sum += value;
  }

  override async get() {
    const values: { metricName?: string; labels: Record<string, string | number>; value: number }[] = [];
    let below = 0;
    for (const [at, count] of this.#counts.entries()) {
      below += count;
      values.push({ metricName: `${this.#name}_bucket`, labels: { le: this.#bounds[at] ?? '+Inf' }, value: below });
    }
    values.push({ metricName: `${this.#name}_sum`, labels: {}, value: this.#sum });
    values.push({ metricName: `${this.#name}_count`, labels: {}, value: below });
    return { name: this.#name, help: this.#help, type: 'histogram', values, aggregator: 'sum' } as never;
  }
}
