// The alert rules as Prometheus' own tool sees them, and what their tests are made of.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';
import { scratchFolder } from '../cli/processes.ts';
import { ensureCommand } from '../support/system-packages.ts';

/** An alert as it stands in rules.yaml. */
export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly keep_firing_for?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<'summary' | 'description' | 'runbook', string>>;
}

/** Series in promtool's notation, by selector. */
export type Series = Readonly<Record<string, string | number>>;

/** One half of a case of alerts.yaml: with `summary` the alert must fire with it, without it must be quiet. */
export interface AlertCase {
  readonly at: string;
  readonly series: Series;
  readonly labels?: Readonly<Record<string, string>>;
  readonly summary?: string;
}

/** The shipped rules. */
export const rulesFile = fileURLToPath(new URL('../../deploy/observe/rules.yaml', import.meta.url));

/** What rules.yaml holds. */
export const rulesDocument = parse(readFileSync(rulesFile, 'utf8')) as {
  readonly groups: readonly { readonly name: string; readonly rules: readonly AlertRule[] }[];
};

/** All alerts in order. */
export const alertRules = rulesDocument.groups.flatMap(({ rules }) => rules);

/** One group of promtool's test file: the alert is looked at at each of the times. */
export function promtoolTest(rule: AlertRule, series: Series, looks: readonly Omit<AlertCase, 'series'>[]) {
  return {
    interval: '1m',
    input_series: Object.entries(series).map(([name, values]) => ({ series: name, values: String(values) })),
    alert_rule_test: looks.map(({ at, labels, summary }) => ({
      eval_time: at,
      alertname: rule.alert,
      exp_alerts:
        summary === undefined
          ? []
          : [{ exp_labels: { ...rule.labels, ...labels }, exp_annotations: { ...rule.annotations, summary } }],
    })),
  };
}

/** Runs `promtool test rules`; returns what it complained about, empty when all held. */
export function promtool(tests: readonly object[]): string {
  ensureCommand('promtool', '--version', 'prometheus');
  using folder = scratchFolder();
  const file = folder.file('test.yaml');
  writeFileSync(file, stringify({ rule_files: [rulesFile], evaluation_interval: '1m', tests }));
  try {
    execFileSync('promtool', ['test', 'rules', file], { stdio: 'pipe' });
    return '';
  } catch (error) {
    const { stdout, stderr } = error as { stdout: Buffer; stderr: Buffer };
    return `${stdout}${stderr}`;
  }
}
