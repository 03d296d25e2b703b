// What of a limit goes with `concurrent`, and what is refused at load.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseText, problemsOf, SMALLEST } from '../support/config-text.ts';

const withLimit = (limit: string, rest = '') => `${SMALLEST}limits: {at_once: {key: client, ${limit}}}\n${rest}`;
/** The problems without their places. */
const said = (text: string) => problemsOf(text).map((line) => line.replace(/^\S+ /, '').replace(':', ''));

test('a limit is a rate, tiers or concurrent', () => {
  assert.equal(parseText(withLimit('concurrent: 5')).config.limits.at_once?.concurrent, 5);
  assert.deepEqual(said(withLimit('exempt: []')), ['limits.at_once needs rate, tiers or concurrent']);
  assert.deepEqual(said(withLimit('rate: 1/1m, concurrent: 5')), [
    'limits.at_once has several of rate, tiers and concurrent; needs one of them',
  ]);
});

test('what says how the shared store counts is refused beside concurrent', () => {
  for (const setting of ['shared: true', 'algorithm: log', 'on_store_down: deny']) {
    const path = `limits.at_once.${setting.split(':')[0]}`;
    const why = 'does not go with concurrent, which each replica counts in its own memory';
    assert.deepEqual(said(withLimit(`concurrent: 5, ${setting}`)), [`${path} ${why}`]);
  }
});

test('rates of a client, and limits of the OAuth endpoints, cannot be concurrent', () => {
  const client = 'clients: {web: {id: web, issuer: corp, limits: {at_once: 5/1m}}}\n';
  assert.deepEqual(said(withLimit('concurrent: 5', client)), [
    'clients.web.limits.at_once gives rates to a limit that is concurrent',
  ]);
  const oauth = 'oauth: {limits: {token: at_once}}\n';
  const found = said(withLimit('concurrent: 5', oauth));
  assert.ok(
    found.some((line) => line.endsWith('limit at_once is concurrent; rates are counted here')),
    found.join('\n'),
  );
});
