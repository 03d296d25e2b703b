// The registry as a page for operators: every metric that a scrape can show, read from the registry itself, so that the page and the
// `# HELP` lines of /metrics say the same. Written to docs/metrics.md by `npm run schema`; a test compares.
import { writeFileSync } from 'node:fs';
import { type Metrics, openMetrics } from './metrics.ts';

/** A metric as it registered itself. */
export interface RegisteredMetric {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly labelNames?: readonly string[];
}

/** What a registry shows; `type` in the words of Prometheus. */
export function registeredMetrics({ registry }: Pick<Metrics, 'registry'>): readonly RegisteredMetric[] {
  return registry.getMetricsAsArray() as unknown as readonly RegisteredMetric[];
}

/** docs/metrics.md, from telemetry/metrics.ts; of Node's own metrics those that Linux has. */
export function metricsReference(): string {
  const metrics = registeredMetrics(openMetrics());
  const isOurs = ({ name }: RegisteredMetric) => name.startsWith('doorward_');
  return [
    '# Metrics',
    '',
    'Generated from `src/telemetry/metrics.ts` by `npm run schema`; the same texts are the `# HELP` lines of `/metrics`, on the observe port',
    'and the admin port. Alerts, dashboard and how to scrape: [Seen from outside](observe.md).',
    '',
    'Units stand in the names: `_seconds`, `_bytes`, `_total` for counts that only grow (and begin anew with the process). A histogram has',
    '`_bucket`, `_sum` and `_count`. Labels are bounded: `upstream`, `issuer`, `limit` and `route` are names of your configuration, `reason` one of',
    '[the reasons](reasons.md), `type` one of [the audit events](audit-events.md), the others what the last column lists. Several workers',
    '(`proxy.workers`) answer a scrape as one replica. What is not configured is absent or 0.',
    '',
    ...table(metrics.filter(isOurs)),
    '',
    '## The process',
    '',
    'From prom-client, as other Node programs have them.',
    '',
    ...table(metrics.filter((metric) => !isOurs(metric))),
    '',
  ].join('\n');
}

const table = (metrics: readonly RegisteredMetric[]) => [
  '| metric | type | unit | labels | what it says |',
  '|---|---|---|---|---|',
  ...metrics.map(
    ({ name, type, labelNames = [], help }) =>
      `| \`${name}\` | ${type} | ${unitOf(name)} | ${labelNames.map((label) => `\`${label}\``).join(', ') || '–'} | ${help.replaceAll('|', '\\|')} |`,
  ),
];

function unitOf(name: string): string {
  const [, unit] = /_(seconds|bytes)(?:_total)?$/.exec(name) ?? [];
  return unit ?? '–';
}

if (import.meta.main) writeFileSync(new URL('../../docs/metrics.md', import.meta.url), metricsReference());
