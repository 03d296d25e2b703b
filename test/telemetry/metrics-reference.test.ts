// The page of metrics is what the registry makes of it, and its texts name every label and every value that a scrape shows.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { openMetrics } from '../../src/telemetry/metrics.ts';
import { metricsReference, registeredMetrics } from '../../src/telemetry/metrics-reference.ts';
import { observedWorld } from '../observe/world.ts';

const ours = registeredMetrics(openMetrics({ processMetrics: false }));

/** Names from the configuration, lists of other pages, numbers of HTTP: what a text cannot list. */
const listedElsewhere: ReadonlySet<string> = new Set([
  ...['upstream', 'issuer', 'limit', 'route', 'le'],
  ...['reason', 'type', 'operation', 'status'],
]);

test('docs/metrics.md is generated from telemetry/metrics.ts: run `npm run schema` after a change', () => {
  assert.equal(readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8'), metricsReference());
});

test('the text of each metric is a sentence that names the labels which have a list of values', () => {
  assert.ok(ours.length > 40);
  for (const { name, help, labelNames = [] } of ours) {
    assert.match(help, /^\S.{15,}\.$/, name);
    for (const label of labelNames)
      if (!listedElsewhere.has(label)) assert.match(help, new RegExp(`\\b${label}\\b`), name);
  }
});

test('every value of such a label in the scrape of a running sidecar is named in the text of its metric', async () => {
  await using world = await observedWorld();
  await world.traffic();
  const seen = [...(await world.scrape()).matchAll(/^(doorward_\w+)\{(.+)\} /gm)].flatMap(([, name, labels = '']) =>
    [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, label = '', value]) => ({ name, label, value })),
  );
  const listed = seen.filter(({ label }) => !listedElsewhere.has(label));
  assert.ok(listed.length > 20, `${listed.length}`);
  for (const { name, label, value } of listed) {
    const { help = '' } = ours.find((metric) => metric.name === name) ?? {};
    assert.match(help, new RegExp(`\\b${value}\\b`), `${name}: ${label}="${value}"`);
  }
});
