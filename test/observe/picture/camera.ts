// From a running Prometheus to a PNG: asks every query of the dashboard, has the page drawn by chromium, and takes its picture.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { scratchFolder } from '../../cli/processes.ts';
import { chartsOf, type Dashboard, filled } from '../dashboard.ts';
import type { Prometheus, TimeRange } from '../prometheus.ts';
import { labelFor, labelled } from './label.ts';
import { type Answer, heightOf, pageOf, WIDTH } from './page.ts';

/** What Prometheus answers to each panel, by its id; rates are taken over `rateInterval`. */
export async function answersOf(
  dashboard: Dashboard,
  prometheus: Prometheus,
  range: TimeRange,
  rateInterval: string,
): Promise<ReadonlyMap<number, readonly Answer[]>> {
  const times = { range: `${Math.round(range.endS - range.startS)}s`, rateInterval };
  const answers = new Map<number, Answer[]>();
  for (const { id, targets = [] } of chartsOf(dashboard))
    for (const target of targets) {
      const series = await prometheus.queryRange(filled(target.expr, times), range);
      answers.set(id, [...(answers.get(id) ?? []), { target, series }]);
    }
  return answers;
}

/** Titles and legends of the queries that nothing came of. */
export function emptyOnes({ panels }: Dashboard, answers: ReadonlyMap<number, readonly Answer[]>): readonly string[] {
  const isNumber = ([, value]: readonly [number, string]) => Number.isFinite(Number(value));
  return panels.flatMap(({ id, title }) =>
    (answers.get(id) ?? [])
      .filter(({ series }) => !series.some(({ values }) => values.some(isNumber)))
      .map(({ target }) => `${title}: ${target.legendFormat}`),
  );
}

/** Draws the dashboard and writes the PNG, which says what panels it shows. */
export function takePicture(
  dashboard: Dashboard,
  answers: ReadonlyMap<number, readonly Answer[]>,
  range: TimeRange,
  note: string,
  png: string,
): void {
  using folder = scratchFolder();
  const page = folder.file('page.html');
  writeFileSync(page, pageOf(dashboard, answers, range, note));
  const quiet = ['quic', 'background-networking', 'component-update', 'sync', 'gpu'].map((what) => `--disable-${what}`);
  const options = [
    ...['--headless', '--no-sandbox', '--no-first-run', '--hide-scrollbars', ...quiet],
    ...[`--user-data-dir=${folder.file('profile')}`, `--window-size=${WIDTH},${heightOf(dashboard)}`],
    ...[`--screenshot=${png}`, '--virtual-time-budget=5000', pathToFileURL(page).href],
  ];
  execFileSync('chromium', options, { stdio: 'pipe', timeout: 120_000 });
  // A third of the size, and nothing that shows.
  execFileSync('pngquant', ['--force', '--strip', '--speed', '1', '--output', png, '256', png]);
  writeFileSync(png, labelled(readFileSync(png), labelFor(dashboard)));
}
