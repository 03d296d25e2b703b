// What the admin API says of wrong input: sentences for whoever typed it, never the words of the validating library.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FieldsError, validated } from '../../src/admin/endpoint.ts';
import { operations } from '../../src/admin/endpoints.ts';

function problemsOf(operation: string, part: 'body' | 'query', input: Record<string, unknown>): string[] {
  try {
    validated(operations[operation]?.[part], input);
  } catch (error) {
    assert.ok(error instanceof FieldsError);
    return error.fields.map(({ path, problem }) => `${path}: ${problem}`);
  }
  return [];
}

const A_TIME = 'needs a time such as 2026-05-01T12:00:00Z';

const cases: readonly [string, 'body' | 'query', Record<string, unknown>, readonly string[]][] = [
  ['listAudit', 'query', { since: 'yesterday' }, [`since: ${A_TIME}, or a duration before now such as 24h`]],
  ['listAudit', 'query', { limit: '0' }, ['limit: needs a number from 1 to 1000']],
  ['listAudit', 'query', { limit: '1001' }, ['limit: needs a number from 1 to 1000']],
  ['listAudit', 'query', { subjct: 'a' }, ['subjct: is not a known field (nearest name subject)']],
  ['listGrants', 'query', { subject: '' }, ['subject: must not be empty']],
  ['explainRequest', 'body', { method: 'GET', url: '/', peer: 'nonsense' }, ['peer: needs an IP address']],
  ['issueToken', 'body', { client: 'web' }, ['subject: is needed']],
  [
    'addClient',
    'body',
    { name: 5, scopes: 'read', limits: { a: 'x' }, jwks: { kex: [] } },
    [
      'name: needs to be text',
      'jwks.keys: is needed',
      'jwks.kex: is not a known field',
      'scopes: needs to be a list',
      'limits.a: needs a rate such as 100/1h, or a list of 1 to 10',
    ],
  ],
  ['addClient', 'body', { name: 'x'.repeat(201) }, ['name: needs at most 200 characters']],
  ['addInitialToken', 'body', { uses: 0 }, ['uses: needs to be at least 1']],
  ['addInitialToken', 'body', { uses: 1.5 }, ['uses: needs to be a whole number']],
];

for (const [operation, part, input, problems] of cases)
  test(`${operation} says of ${JSON.stringify(input).slice(0, 60)}: ${problems[0]?.slice(0, 60)}`, () => {
    assert.deepEqual(problemsOf(operation, part, input), problems);
  });
