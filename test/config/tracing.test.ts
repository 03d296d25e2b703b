// Traces: what loads, what is only said, and what changes the configuration's hash. Mistakes stand in fixtures/config/bad/tracing-*.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseText, SMALLEST } from '../support/config-text.ts';

const load = (tracing: string, env: Readonly<Record<string, string>> = {}) =>
  parseText(`${SMALLEST}\ntracing: ${tracing}\n`, env);

const warningsOf = (tracing: string) => load(tracing).warnings.map(({ path, message }) => `${path}: ${message}`);

test('without the block there are no traces; with it one request of a hundred, and trusted proxies are believed', () => {
  assert.equal(parseText(SMALLEST).config.tracing, undefined);
  const { tracing } = load('{endpoint: "http://127.0.0.1:4318"}').config;
  assert.deepEqual(tracing, {
    endpoint: 'http://127.0.0.1:4318',
    headers: {},
    ratio: 0.01,
    believe: 'trusted_proxies',
    attributes: {},
    queue: 2048,
    timeout: 5000,
  });
});

test('secrets for the collector that go over a network in the clear are warned of; by loopback or TLS they are not', () => {
  const headers = 'headers: {Authorization: {value: "Bearer word"}}';
  const said = 'tracing.headers: go over the network in the clear: endpoint is http://';
  assert.deepEqual(warningsOf(`{endpoint: "http://collector:4318", ${headers}}`), [said]);
  for (const endpoint of ['http://127.0.0.1:4318', 'http://[::1]:4318', 'http://localhost:4318', 'https://collector'])
    assert.deepEqual(warningsOf(`{endpoint: "${endpoint}", ${headers}}`), []);
  assert.deepEqual(warningsOf('{endpoint: "http://collector:4318"}'), []);
});

test('to believe everyone is warned of', () => {
  assert.deepEqual(warningsOf('{endpoint: "http://127.0.0.1:4318", believe: everyone}'), [
    'tracing.believe: everyone: any client can have all its requests traced',
  ]);
  assert.deepEqual(warningsOf('{endpoint: "http://127.0.0.1:4318", believe: everyone_ids}'), []);
});

test('another secret behind the same reference is another configuration', () => {
  const text = '{endpoint: "https://collector", headers: {Authorization: {env: OTLP}}}';
  assert.notEqual(load(text, { OTLP: 'Bearer one' }).hash, load(text, { OTLP: 'Bearer two' }).hash);
});
