// One set of metrics over several processes: every value summed, but for those whose instrument names another way in
// telemetry/metrics.ts (a state, an age, a figure that all processes share).
import { AggregatorRegistry, type MetricObjectWithValues, type MetricValue } from 'prom-client';
import type { Metrics } from '../telemetry/metrics.ts';

/** One metric with its values, as plain data. */
export type MetricValues = MetricObjectWithValues<MetricValue<string>>;

/** All values of this process. */
export const metricValues = (metrics: Metrics): Promise<readonly MetricValues[]> => metrics.registry.getMetricsAsJSON();

/**
 * The text of a scrape over all processes. The first is the primary: metrics that are not to be summed and that only it
 * knows are `first`, and so is the start of the process, which prom-client would leave out.
 */
export function metricsText(processes: readonly (readonly MetricValues[])[]): Promise<string> {
  const kept = processes.map((values) =>
    values.map((metric) => (metric.aggregator === 'omit' ? { ...metric, aggregator: 'first' as const } : metric)),
  );
  return AggregatorRegistry.aggregate(kept as unknown as object[]).metrics();
}

/**
 * What a process that has ended goes on contributing. A counter that fell when a worker died would look to Prometheus like a
 * restart of everything, and the sum of all others like fresh traffic.
 */
export function countsOf(values: readonly MetricValues[]): readonly MetricValues[] {
  return values.filter(({ type }) => ['counter', 'histogram'].includes(type as unknown as string));
}

/** Adds up what several ended processes had counted, so that a hundred of them take no more room than one. */
export async function addedUp(processes: readonly (readonly MetricValues[])[]): Promise<readonly MetricValues[]> {
  return AggregatorRegistry.aggregate(processes as unknown as object[]).getMetricsAsJSON();
}
