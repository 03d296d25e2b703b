// The shipped Envoy files against Envoy's own published types.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'yaml';
import { shipped } from '../support/fronts.ts';
import { envoyTypes, problemsOf } from './envoy-types.ts';

const types = envoyTypes();
const bootstrap = types.lookupType('envoy.config.bootstrap.v3.Bootstrap');

for (const name of ['proxy', 'ext_authz']) {
  test(`envoy/${name}.yaml is a bootstrap of Envoy’s published types`, () => {
    assert.deepEqual(problemsOf(types, bootstrap, parse(shipped(`envoy/${name}.yaml`))), []);
  });
}

test('the types find a misspelt field, a wrong word, a wrong kind and two choices of one', () => {
  const broken = shipped('envoy/ext_authz.yaml')
    .replace('path_prefix:', 'path_prefixx:')
    .replace('ServiceUnavailable', 'Unavailable')
    .replace('timeout: 2s', 'timeout: 2 seconds')
    .replace('stat_prefix: web', 'stat_prefix: 7')
    .replace('{exact: origin}', '{exact: origin, prefix: o}');
  const problems = problemsOf(types, bootstrap, parse(broken)).map((problem) =>
    problem.replace(/^.*\/(?=\w+[:/])/, ''),
  );
  assert.deepEqual(problems.sort(), [
    '3: more than one match_pattern',
    'code: no such word',
    'path_prefixx: unknown to envoy.extensions.filters.http.ext_authz.v3.HttpService',
    'stat_prefix: no string',
    'timeout: no duration',
  ]);
});
