// deploy/observe/dashboard.json: every query of it, asked of a real Prometheus that scraped a sidecar with traffic and refusals.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../rows/eventually.ts';
import { chartsOf, dashboard, filled } from './dashboard.ts';
import { startPrometheus } from './prometheus.ts';
import { alertRules } from './promtool.ts';
import { observedWorld } from './world.ts';

const charts = chartsOf(dashboard);
const times = { range: '5m', rateInterval: '30s' };

test('panels have a place and a name of their own, and ask the data source that is chosen', () => {
  assert.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length);
  assert.equal(new Set(dashboard.panels.map(({ title }) => title)).size, dashboard.panels.length);
  const cells = new Set<string>();
  for (const { title, gridPos } of dashboard.panels)
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1)
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
        assert.ok(x < 24 && !cells.has(`${x} ${y}`), title);
        cells.add(`${x} ${y}`);
      }
  for (const { datasource, title } of charts) assert.match(datasource?.uid ?? '', /^\$\{datasource\}$/, title);
});

test('errors of ours are those that DoorwardErrors counts', () => {
  const counted = (expr = '') => /reason=~"([^"]+)"/.exec(expr)?.[1];
  const rule = alertRules.find(({ alert }) => alert === 'DoorwardErrors');
  const [ours] = charts.find(({ title }) => title === 'Errors')?.targets ?? [];
  assert.ok(counted(rule?.expr));
  assert.equal(counted(ours?.expr), counted(rule?.expr));
});

test('every query of the dashboard returns data after a run with traffic and refusals, and no alert fires that should not', async () => {
  await using world = await observedWorld();
  await using prometheus = await startPrometheus([new URL(world.sidecar.observeUrl as string).host]);
  const stream = await world.openStream();
  const queries = charts.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr, legendFormat }) => ({ title, expr: filled(expr, times), legendFormat })),
  );
  assert.ok(queries.length >= 30, `${queries.length}`);
  const empty = new Map(queries.map((each) => [each.expr, each]));
  const ask = async () => {
    await world.traffic();
    for (const { title, expr, legendFormat } of [...empty.values()]) {
      const result = await prometheus.query(expr);
      if (!result.some(({ value: [, value] }) => Number.isFinite(Number(value)))) continue;
      for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g))
        assert.ok(
          expr.includes('vector(0)') || result.some(({ metric }) => (label as string) in metric),
          `${title}: ${label}`,
        );
      empty.delete(expr);
    }
    return empty.size === 0;
  };
  await eventually(ask, 40_000).catch((error: unknown) => {
    throw new Error(`no data: ${[...empty.keys()].join('\n')}`, { cause: error });
  });
  stream.end();
  const reasons = await prometheus.query('count by (reason) (doorward_decisions_total{outcome="deny"})');
  const seen = reasons.map(({ metric }) => metric.reason);
  for (const reason of ['credential_missing', 'token_malformed', 'token_expired', 'rate_limited', 'token_revoked'])
    assert.ok(seen.includes(reason), `${reason} of ${seen}`);
  assert.deepEqual([...(await prometheus.rules())].sort(), alertRules.map(({ alert }) => alert).sort());
  // The certificate of the tests lives for a day.
  const firing = await prometheus.query('ALERTS{alertstate="firing"}');
  assert.deepEqual([...new Set(firing.map(({ metric }) => metric.alertname))], ['DoorwardCertificateExpiresSoon']);
});
