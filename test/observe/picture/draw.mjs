// Runs in the page that page.ts makes: draws each panel with uPlot, which the page has loaded, from the figures in `page`.
/* global document, page, uPlot */
const FONT = '12px Inter, "Liberation Sans", sans-serif';
const GRID = { stroke: 'rgba(240, 250, 255, 0.09)', width: 1 };
const { times, ticks, drawings } = page;
const measure = document.createElement('canvas').getContext('2d');
measure.font = FONT;

const axisOf = (marks, more) => ({
  stroke: '#ccccdc',
  font: FONT,
  grid: GRID,
  ticks: { ...GRID, size: 4 },
  splits: marks.map(({ at }) => at),
  values: marks.map(({ text }) => text),
  ...more,
});

const faint = (colour, share) =>
  `${colour}${Math.round(share * 255)
    .toString(16)
    .padStart(2, '0')}`;

for (const { id, lines, axis, fill, stepped } of drawings) {
  if (lines.length === 0) continue;
  const plot = document.querySelector(`[data-panel="${id}"] .plot`);
  const width = Math.max(...axis.ticks.map(({ text }) => measure.measureText(text).width));
  const series = lines.map(({ colour }) => ({
    stroke: colour,
    fill: faint(colour, fill),
    width: 1.25,
    points: { show: false },
    ...(stepped && { paths: uPlot.paths.stepped({ align: 1 }) }),
  }));
  new uPlot(
    {
      width: plot.clientWidth,
      height: plot.clientHeight,
      padding: [8, 22, 0, 4],
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { range: [times[0], times.at(-1)] }, y: { range: [0, axis.max] } },
      axes: [axisOf(ticks, { size: 24, gap: 4 }), axisOf(axis.ticks, { size: width + 13, gap: 5 })],
      series: [{}, ...series],
    },
    [times, ...lines.map(({ values }) => values)],
    plot,
  );
}
