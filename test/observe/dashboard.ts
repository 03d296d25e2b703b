// deploy/observe/dashboard.json as it stands, and what Grafana puts in place of its variables.
import { readFileSync } from 'node:fs';

/** A chart of the dashboard, or the heading (`row`) of those below it. */
export interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  /** In cells of Grafana's grid: 24 to the width. */
  readonly gridPos: Readonly<Record<'x' | 'y' | 'w' | 'h', number>>;
  readonly datasource?: { readonly uid: string };
  readonly fieldConfig?: { readonly defaults: FieldDefaults; readonly overrides: readonly unknown[] };
  readonly options?: Readonly<Record<string, unknown>>;
  readonly targets?: readonly Target[];
}

/** How values are shown. */
export interface FieldDefaults {
  readonly unit: string;
  readonly min?: number;
  readonly max?: number;
  readonly decimals?: number;
  readonly custom?: Readonly<Record<string, unknown>>;
}

/** One query of a panel; `{{name}}` in the legend stands for a label. */
export interface Target {
  readonly refId: string;
  readonly expr: string;
  readonly legendFormat: string;
}

/** The dashboard. */
export interface Dashboard {
  readonly title: string;
  readonly panels: readonly Panel[];
}

/** The shipped one. */
export const dashboard = JSON.parse(
  readFileSync(new URL('../../deploy/observe/dashboard.json', import.meta.url), 'utf8'),
) as Dashboard;

/** The panels that ask for something. */
export const chartsOf = ({ panels }: Dashboard): readonly Panel[] => panels.filter(({ type }) => type !== 'row');

/** An expression with every job chosen, for a time range and the interval of rates, as in `5m`. */
export const filled = (expr: string, { range, rateInterval }: Readonly<Record<'range' | 'rateInterval', string>>) =>
  expr.replaceAll('$__rate_interval', rateInterval).replaceAll('$__range', range).replaceAll('$job', '.*');
