import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { sidecarJsonSchema } from '../../src/config/json-schema.ts';
import { configurationReference, referenceRows } from '../../src/config/reference.ts';

const committed = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

test('config/sidecar.schema.json is what npm run schema makes', () => {
  assert.equal(committed('config/sidecar.schema.json'), sidecarJsonSchema());
});

test('docs/configuration.md is what npm run schema makes', () => {
  assert.equal(committed('docs/configuration.md'), configurationReference());
});

test('the JSON Schema keeps defaults, units, doc lines and reload marks', () => {
  const schema = JSON.parse(sidecarJsonSchema());
  assert.equal(schema.$schema, 'https://json-schema.org/draft/2020-12/schema');
  assert.equal(schema.additionalProperties, false);
  assert.deepEqual(schema.required, ['version']);
  assert.deepEqual(schema.properties.proxy.properties.keep_alive, {
    description: 'How long an idle client connection stays open; above the 60s of nginx and load balancers.',
    reload: 'restart',
    default: '75s',
    type: 'string',
    pattern: '^(?!0+[a-z])\\d{1,9}(ms|s|m|h|d)$',
  });
});

test('every setting has a doc line', () => {
  const rows = referenceRows();
  assert.ok(rows.length > 100);
  for (const { path, description } of rows) assert.ok(description.length > 5, path);
});
