// deploy/observe/rules.yaml: each alert fires and stays quiet as it should (promtool), asks for metrics that a real scrape has,
// and has a section of the runbook.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { reasons } from '../../src/core/reasons.ts';
import { openRenderer } from '../deploy/helm.ts';
import { manifestsIn, named } from '../deploy/manifests.ts';
import { type AlertCase, alertRules, promtool, promtoolTest, rulesDocument, rulesFile } from './promtool.ts';
import { ruleCopies } from './rule-copies.ts';
import { observedWorld } from './world.ts';

const cases = parse(readFileSync(new URL('alerts.yaml', import.meta.url), 'utf8')) as Readonly<
  Record<string, { readonly fires: AlertCase; readonly quiet: AlertCase }>
>;
const ruleNamed = (name: string) => alertRules.find(({ alert }) => alert === name) as (typeof alertRules)[number];

test('promtool takes the rules, and every alert has a case that fires and one that is quiet', () => {
  assert.match(execFileSync('promtool', ['check', 'rules', rulesFile], { encoding: 'utf8' }), /SUCCESS/);
  assert.deepEqual(
    Object.keys(cases),
    alertRules.map(({ alert }) => alert),
  );
  for (const [name, { fires, quiet }] of Object.entries(cases)) {
    assert.ok(fires.summary, name);
    assert.equal(quiet.summary, undefined, name);
  }
});

for (const [name, { fires, quiet }] of Object.entries(cases)) {
  test(`${name} fires, with what it says, and stays quiet`, () => {
    const rule = ruleNamed(name);
    assert.equal(promtool([promtoolTest(rule, fires.series, [fires]), promtoolTest(rule, quiet.series, [quiet])]), '');
  });
}

test('an expectation that does not hold is found', () => {
  const rule = ruleNamed('DoorwardRedisAway');
  const { fires, quiet } = cases.DoorwardRedisAway as (typeof cases)[string];
  assert.match(promtool([promtoolTest(rule, quiet.series, [fires])]), /FAILED/);
  assert.match(promtool([promtoolTest(rule, fires.series, [{ at: fires.at }])]), /FAILED/);
  assert.match(promtool([promtoolTest(rule, fires.series, [{ ...fires, summary: 'another' }])]), /FAILED/);
});

test('K22: spikes that come and go are one alert that stays, until it has been calm for a while', () => {
  const rule = ruleNamed('DoorwardBadTokens');
  const name = 'doorward_decisions_total{job="j",outcome="deny",reason="token_signature_invalid",route="all"}';
  // 10 minutes of an attack, 10 calm ones, 10 of attack, calm again.
  const series = { [name]: '0+1200x10 12000x9 12000+1200x10 24000x60' };
  const firing = { labels: { job: 'j' } };
  const summaryAt = (at: string, value: string) => ({ ...firing, at, summary: `${value} bad tokens arrive a second.` });
  const looks = [
    summaryAt('10m', '20'),
    // Below the threshold: the last value that was above it stands.
    summaryAt('20m', '12'),
    summaryAt('30m', '20'),
    { at: '60m' },
  ];
  assert.equal(promtool([promtoolTest(rule, series, looks)]), '');
});

test('every alert says how urgent it is, and has a section of the runbook with meaning, first look, commands and remedy', () => {
  const runbook = readFileSync(new URL('../../docs/runbook.md', import.meta.url), 'utf8');
  const sections = new Map(
    runbook
      .split(/^## /m)
      .slice(1)
      .map((section) => [section.slice(0, section.indexOf('\n')), section] as const),
  );
  assert.deepEqual(
    [...sections.keys()].filter((name) => name.startsWith('Doorward')),
    alertRules.map(({ alert }) => alert),
  );
  for (const { alert, labels, annotations } of alertRules) {
    assert.ok(['page', 'ticket', 'info'].includes(labels.severity as string), alert);
    assert.equal(annotations.runbook, `docs/runbook.md#${alert.toLowerCase()}`);
    const section = sections.get(alert) as string;
    for (const part of ['**Means.**', '**Look.**', '```sh', '**Remedy.**'])
      assert.ok(section.includes(part), `${alert} lacks ${part}`);
  }
});

test('reasons named by alerts exist, and no 5xx of ours is left out of DoorwardErrors without a word', () => {
  const own = /reason=~"([^"]+)"/.exec(ruleNamed('DoorwardErrors').expr)?.[1]?.split('|').sort();
  // Said of a caller's mistake, by the upstream, at the end of a replica or of a stream, or by the admin port only.
  const elsewhere =
    /^(?:connect_unsupported|draining|route_changed|upstream_.+|not_configured|sealed_unreadable|audit_.+)$/;
  const wanted = Object.entries(reasons).filter(([reason, { status }]) => status >= 500 && !elsewhere.test(reason));
  assert.deepEqual(own, wanted.map(([reason]) => reason).sort());
  for (const { alert, expr } of alertRules)
    for (const [, pattern] of expr.matchAll(/\breason!?=~?"([^"]+)"/g))
      for (const one of (pattern as string).split('|'))
        assert.ok(
          Object.keys(reasons).some((reason) => new RegExp(`^(?:${one})$`).test(reason)),
          `${alert}: ${one}`,
        );
});

test('every metric that an alert asks for is in the scrape of a running sidecar', async () => {
  await using world = await observedWorld();
  const families = new Set([...(await world.scrape()).matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name as string));
  assert.ok(families.size > 60, `${families.size}`);
  for (const { alert, expr } of alertRules) {
    const asked = [...expr.matchAll(/\b(?:doorward|nodejs|process)_[a-z0-9_]+/g)].map(([name]) => name);
    assert.ok(asked.length > 0, alert);
    for (const name of asked) assert.ok(families.has(name.replace(/_bucket$/, '')), `${alert}: ${name}`);
  }
});

test('with Redis gone and a bad configuration the scrape shows the very series that alerts select', async () => {
  await using world = await observedWorld();
  await world.redis.stop();
  await world.eventually('doorward_store_up{store="redis"} 0');
  await world.eventually('doorward_degraded{subsystem="revocation",mode="known"} 1');
  await world.redis.start();
  await world.eventually('doorward_store_up{store="redis"} 1');
  world.breakConfig();
  await world.eventually('doorward_config_reload_success 0');
  const text = await world.scrape();
  assert.match(text, /^doorward_store_up\{store="postgres"\} 1$/m);
  assert.match(text, /^doorward_signing_keys\{issuer="self",state="active"\} 1$/m);
  assert.match(text, /^doorward_signing_keys\{issuer="self",state="retired"\} 0$/m);
  assert.match(text, /^doorward_jwks_age_seconds\{issuer="corp"\} /m);
  assert.doesNotMatch(text, /^doorward_jwks_age_seconds\{issuer="self"\} /m);
  assert.match(text, /^doorward_certificate_not_after_seconds\{listener="proxy"\} \d{10}$/m);
  assert.match(text, /^doorward_revocations_pending 0$/m);
});

test('kustomize and Helm have the same rules', () => {
  for (const [file, text] of ruleCopies()) assert.equal(readFileSync(file, 'utf8'), text, file.pathname);
  const kustomized = manifestsIn(
    execFileSync('kubectl', ['kustomize', fileURLToPath(new URL('../../deploy/kubernetes/example', import.meta.url))], {
      encoding: 'utf8',
    }),
  );
  assert.deepEqual(named(kustomized, 'PrometheusRule', 'doorward').spec.groups, rulesDocument.groups);
  using renderer = openRenderer();
  const { manifests } = renderer.render('doorward', 'auth', { prometheusRule: { enabled: true } });
  assert.deepEqual(named(manifests, 'PrometheusRule', 'auth').spec.groups, rulesDocument.groups);
});
