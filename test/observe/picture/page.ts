// The dashboard as one HTML page: every panel where its grid says, with what Prometheus answered. In the look of Grafana, whose
// charts are drawn by the same library (uPlot); what this page does not know of a panel it refuses, and never leaves out.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { isDeepStrictEqual } from 'node:util';
import { chartsOf, type Dashboard, type Panel, type Target } from '../dashboard.ts';
import type { Series, TimeRange } from '../prometheus.ts';
import { type Axis, axisTo } from './units.ts';

/** What Prometheus answered to one query of a panel. */
export interface Answer {
  readonly target: Target;
  readonly series: readonly Series[];
}

/** Width of the picture in pixels. */
export const WIDTH = 1600;

const CELL = 30;
const GAP = 8;
const TOP = 56;
/** Grafana's colours of series, in its order. */
const COLOURS = [
  ...['#73bf69', '#f2cc0c', '#8ab8ff', '#ff780a', '#f2495c', '#5794f2', '#b877d9', '#705da0', '#37872d', '#fade2a'],
  ...['#447ebc', '#c15c17', '#890f02', '#0a437c', '#6d1f62', '#584477', '#b7dbab', '#f4d598', '#70dbed', '#f9ba8f'],
];

interface Line {
  readonly name: string;
  readonly colour: string;
  readonly values: readonly (number | null)[];
}

/** What the page draws into a panel; draw.mjs reads it. */
interface Drawing {
  readonly id: number;
  readonly lines: readonly Line[];
  readonly axis: Axis;
  readonly fill: number;
  readonly stepped: boolean;
}

/** Height of the picture of a dashboard in pixels. */
export const heightOf = ({ panels }: Dashboard): number =>
  TOP + Math.max(...panels.map(({ gridPos: { y, h } }) => y + h)) * (CELL + GAP) + GAP;

/**
 * The page; `answers` hold those of each panel by its id, `note` stands beside the times. Throws TypeError for a type, unit or
 * option of a panel that it would not draw as Grafana does, and for a panel without answers.
 */
export function pageOf(
  dashboard: Dashboard,
  answers: ReadonlyMap<number, readonly Answer[]>,
  range: TimeRange,
  note: string,
): string {
  const drawings = new Map(chartsOf(dashboard).map((panel) => [panel.id, drawingOf(panel, answers, range)]));
  const panels = dashboard.panels.map((panel) => panelHtml(panel, drawings.get(panel.id)));
  const drawn = JSON.stringify({ times: timesOf(range), ticks: minutesOf(range), drawings: [...drawings.values()] });
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>${text(dashboard.title)}</title>
<style>${file(require.resolve('uplot/dist/uPlot.min.css'))}${file(new URL('page.css', import.meta.url))}</style>
<header><h1>${text(dashboard.title)}</h1><span>Job: All</span><span class="range">${text(period(range))} · ${text(note)}</span></header>
<main>${panels.join('\n')}</main>
<script>${file(require.resolve('uplot/dist/uPlot.iife.min.js'))}</script>
<script>const page = ${drawn.replaceAll('<', '\\u003c')};</script>
<script type="module">${file(new URL('draw.mjs', import.meta.url))}</script>
</html>
`;
}

const require = createRequire(import.meta.url);
const file = (path: string | URL) => readFileSync(path, 'utf8');
const text = (words: string) => words.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
const utc = (seconds: number) => new Date(seconds * 1000).toISOString().slice(0, 19).replace('T', ' ');
const period = ({ startS, endS }: TimeRange) => `${utc(startS)} to ${utc(endS).slice(11)} UTC`;

function timesOf({ startS, endS, stepS }: TimeRange): readonly number[] {
  return Array.from({ length: Math.floor((endS - startS) / stepS) + 1 }, (_, at) => startS + at * stepS);
}

/** Every whole minute of the range. */
function minutesOf({ startS, endS }: TimeRange) {
  const first = Math.ceil(startS / 60) * 60;
  const count = Math.max(0, Math.floor((endS - first) / 60) + 1);
  return Array.from({ length: count }, (_, at) => first + at * 60).map((at) => ({ at, text: utc(at).slice(11, 16) }));
}

const KNOWN_OPTIONS = {
  legend: { displayMode: 'list', placement: 'bottom' },
  tooltip: { mode: 'multi', sort: 'desc' },
};
const KNOWN_FIELDS = ['unit', 'min', 'decimals', 'custom'];
const KNOWN_STYLES = ['fillOpacity', 'showPoints', 'lineInterpolation'];
const KNOWN_LINES = ['linear', 'stepAfter'];

/** Everything of a panel that changes how Grafana draws it is either drawn here too or refused. */
function refuseUnknown({ type, title, fieldConfig, options }: Panel): void {
  const refuse = (what: string) => {
    throw new TypeError(`${title}: the picture does not know ${what}`);
  };
  if (type !== 'timeseries') refuse(`panels of type ${type}`);
  if (!isDeepStrictEqual(options, KNOWN_OPTIONS)) refuse(`options ${JSON.stringify(options)}`);
  const { defaults = { unit: '' }, overrides = [] } = fieldConfig ?? {};
  const { custom = {}, ...fields } = defaults;
  if (overrides.length > 0) refuse('overrides');
  for (const name of Object.keys(fields)) if (!KNOWN_FIELDS.includes(name)) refuse(name);
  for (const name of Object.keys(custom)) if (!KNOWN_STYLES.includes(name)) refuse(`custom.${name}`);
  if (fields.min !== 0) refuse('an axis that does not begin at 0');
  if (custom.showPoints !== 'never') refuse('points');
  if (!KNOWN_LINES.includes(String(custom.lineInterpolation ?? 'linear'))) refuse('such lines');
}

function drawingOf(panel: Panel, answers: ReadonlyMap<number, readonly Answer[]>, range: TimeRange): Drawing {
  refuseUnknown(panel);
  const of = answers.get(panel.id);
  if (of === undefined) throw new TypeError(`${panel.title}: nothing was asked`);
  const { unit = '', decimals, custom } = panel.fieldConfig?.defaults ?? {};
  const lines = of
    .flatMap(({ target, series }) => series.map((each) => lineOf(target, each, range)))
    .map((line, at) => ({ ...line, colour: COLOURS[at % COLOURS.length] as string }));
  const largest = Math.max(0, ...lines.flatMap(({ values }) => values.map((value) => value ?? 0)));
  return {
    id: panel.id,
    lines,
    axis: axisTo(largest, unit, decimals),
    fill: Number(custom?.fillOpacity ?? 0) / 100,
    stepped: custom?.lineInterpolation === 'stepAfter',
  };
}

/** A value for each step; null where there is none, and where it is no number. */
function lineOf({ legendFormat }: Target, { metric, values }: Series, range: TimeRange): Omit<Line, 'colour'> {
  const known = new Map(values.map(([at, value]) => [Math.round(at * 1000), Number(value)]));
  const at = timesOf(range).map((time) => known.get(Math.round(time * 1000)) ?? Number.NaN);
  return {
    name: legendFormat.replaceAll(/\{\{(\w+)\}\}/g, (_, label: string) => metric[label] ?? ''),
    values: at.map((value) => (Number.isFinite(value) ? value : null)),
  };
}

function panelHtml(panel: Panel, drawing: Drawing | undefined): string {
  const { x, y, w, h } = panel.gridPos;
  const column = (WIDTH - GAP) / 24;
  const place = `left:${GAP + x * column}px;top:${TOP + y * (CELL + GAP)}px;width:${w * column - GAP}px;height:${h * (CELL + GAP) - GAP}px`;
  if (drawing === undefined) return `<h2 style="${place}">${text(panel.title)}</h2>`;
  const named = drawing.lines.map(({ name, colour }) => `<li><i style="background:${colour}"></i>${text(name)}</li>`);
  const empty = drawing.lines.length === 0 ? '<p>No data</p>' : '';
  return `<section data-panel="${panel.id}" style="${place}"><h3>${text(panel.title)}<small>${text((panel.description ?? '').replaceAll('`', ''))}</small></h3>
<div class="plot">${empty}</div><ul>${named.join('')}</ul></section>`;
}
