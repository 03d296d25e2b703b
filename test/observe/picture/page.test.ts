// The page that docs/pictures/dashboard.png is taken of: every panel of the dashboard is on it, and what it cannot draw as Grafana
// does it refuses, so that no new panel is forgotten. The picture itself is made by hand (`node test/observe/picture.ts`).
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { chartsOf, type Dashboard, dashboard, type Panel } from '../dashboard.ts';
import { labelFor, labelled, labelOf } from './label.ts';
import { type Answer, heightOf, pageOf, WIDTH } from './page.ts';
import { axisTo, formatted } from './units.ts';

const range = { startS: 1_795_300_000, endS: 1_795_300_120, stepS: 60 };
/** Two series for each query, with a value, none, and one that is no number. */
const answersFor = (panels: readonly Panel[]) =>
  new Map(
    panels.map(({ id, targets = [] }): [number, Answer[]] => [
      id,
      targets.map((target) => ({
        target,
        series: ['one', 'i<b>'].map((store) => ({
          metric: { store },
          values: [
            [range.startS, '1'],
            [range.endS, 'NaN'],
          ],
        })),
      })),
    ]),
  );
const drawn = (of: Dashboard, answers = answersFor(chartsOf(of))) => pageOf(of, answers, range, '8s');
const count = (text: string, part: string) => text.split(part).length - 1;
const figuresIn = (html: string) =>
  JSON.parse(/const page = (.*);<\/script>/.exec(html)?.[1] as string) as {
    drawings: { id: number; lines: { name: string; values: (number | null)[] }[] }[];
  };

test('every panel of the dashboard is drawn once, with its title, its place, and a line for each series', () => {
  const html = drawn(dashboard);
  const { drawings } = figuresIn(html);
  for (const { id, type, title, targets = [] } of dashboard.panels) {
    if (type === 'row') {
      assert.match(html, new RegExp(`<h2 [^>]*>${title}</h2>`));
      continue;
    }
    assert.equal(count(html, `data-panel="${id}" style="left:`), 1, title);
    assert.equal(count(html, `<h3>${title}<small>`), 1, title);
    const [drawing, ...more] = drawings.filter((each) => each.id === id);
    assert.equal(more.length, 0, title);
    assert.equal(drawing?.lines.length, 2 * targets.length, title);
    for (const { values } of drawing?.lines ?? []) assert.deepEqual(values, [1, null, null], title);
  }
  assert.equal(drawings.length, chartsOf(dashboard).length);
  const [last] = dashboard.panels.map(({ gridPos: { y, h } }) => y + h).sort((a, b) => b - a);
  assert.ok(heightOf(dashboard) > (last as number) * 38);
});

test('the picture in the docs is one of these panels; `node test/observe/picture.ts` makes it anew', () => {
  const png = readFileSync(new URL('../../../docs/pictures/dashboard.png', import.meta.url));
  assert.equal(labelOf(png), labelFor(dashboard));
  assert.deepEqual([png.readUInt32BE(16), png.readUInt32BE(20)], [WIDTH, heightOf(dashboard)]);
  const [first, ...others] = dashboard.panels;
  assert.notEqual(labelOf(png), labelFor({ ...dashboard, panels: others }));
  assert.equal(labelOf(labelled(png, first?.title as string)), first?.title);
});

test('legends are those of the queries, and what Prometheus says is text', () => {
  const panel = chartsOf(dashboard).find(({ title }) => title === 'Stores up') as Panel;
  const html = drawn({ title: 'one', panels: [panel] });
  assert.deepEqual(
    figuresIn(html).drawings[0]?.lines.map(({ name }) => name),
    ['one', 'i<b>'],
  );
  assert.match(html, /<\/i>i&#60;b&#62;<\/li>/);
  assert.ok(!html.includes('i<b>'));
});

test('a query that nothing came of says so', () => {
  const panel = chartsOf(dashboard)[0] as Panel;
  const [target] = panel.targets as [Answer['target']];
  const html = drawn({ title: 'one', panels: [panel] }, new Map([[panel.id, [{ target, series: [] }]]]));
  assert.match(html, /No data/);
  assert.doesNotMatch(drawn(dashboard), /No data/);
});

test('what the page does not know of a panel is refused', () => {
  const panel = chartsOf(dashboard)[0] as Panel;
  const { fieldConfig } = panel as { fieldConfig: NonNullable<Panel['fieldConfig']> };
  const withDefaults = (more: object) => ({
    fieldConfig: { ...fieldConfig, defaults: { ...fieldConfig.defaults, ...more } },
  });
  const changes: readonly (readonly [object, RegExp])[] = [
    [{ type: 'stat' }, /panels of type stat/],
    [{ options: { legend: { displayMode: 'table' } } }, /options/],
    [{ fieldConfig: { ...fieldConfig, overrides: [{}] } }, /overrides/],
    [withDefaults({ unit: 'furlongs' }), /furlongs/],
    [withDefaults({ thresholds: {} }), /thresholds/],
    [withDefaults({ min: 1 }), /begin at 0/],
    [withDefaults({ custom: { ...fieldConfig.defaults.custom, stacking: {} } }), /custom\.stacking/],
    [withDefaults({ custom: { showPoints: 'always' } }), /points/],
    [withDefaults({ custom: { ...fieldConfig.defaults.custom, lineInterpolation: 'smooth' } }), /lines/],
  ];
  for (const [change, message] of changes) {
    const changed = { ...panel, ...change } as Panel;
    assert.throws(() => drawn({ title: 'one', panels: [changed] }, answersFor([panel])), message);
  }
  assert.throws(() => drawn({ title: 'one', panels: [panel] }, new Map()), /nothing was asked/);
});

test('values are spelled as Grafana spells them', () => {
  for (const [value, unit, text] of [
    [0, 's', '0 s'],
    [0.00025, 's', '250 µs'],
    [0.0123456, 's', '12.35 ms'],
    [90, 's', '1.5 min'],
    [86_400 * 5, 's', '5 day'],
    [0.125, 'percentunit', '12.5%'],
    [0, 'percentunit', '0%'],
    [1536, 'bytes', '1.5 KiB'],
    [200 * 2 ** 20, 'bytes', '200 MiB'],
    [1200, 'reqps', '1.2K req/s'],
    [0.5, 'cps', '0.5 c/s'],
    [2_500_000, 'short', '2.5 Mil'],
  ] as const)
    assert.equal(formatted(value, unit), text);
});

test('an axis holds its largest value and has a few round lines, whole ones where decimals are 0', () => {
  const texts = (largest: number, unit: string, decimals?: number) =>
    axisTo(largest, unit, decimals).ticks.map(({ text }) => text);
  assert.deepEqual(texts(0.019, 's'), ['0 s', '10 ms', '20 ms']);
  assert.deepEqual(texts(50, 's'), ['0 s', '15 s', '30 s', '45 s']);
  assert.deepEqual(texts(1, 'short', 0), ['0', '1']);
  assert.deepEqual(texts(1, 'percentunit'), ['0%', '50%', '100%']);
  assert.deepEqual(texts(0, 'reqps'), ['0 req/s', '0.25 req/s', '0.5 req/s', '0.75 req/s', '1 req/s']);
  assert.deepEqual(texts(220 * 2 ** 20, 'bytes'), ['0 B', '64 MiB', '128 MiB', '192 MiB']);
  for (const largest of [0.0003, 0.7, 3, 17, 240, 9001, 3e7])
    for (const unit of ['s', 'short', 'bytes', 'percentunit', 'reqps']) {
      const { max, ticks } = axisTo(largest, unit);
      assert.ok(max > largest && ticks.length >= 2 && ticks.length <= 6, `${largest} ${unit}: ${ticks.length}`);
      assert.ok(ticks.every(({ at }) => at <= max));
    }
});
