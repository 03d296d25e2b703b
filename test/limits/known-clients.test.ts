import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KnownClients, layeredClients, staticClients } from '../../src/limits/clients.ts';
import type { ClientNotice } from '../../src/stores/contracts/clients.ts';

const ISSUER = 'https://id.test/';
const notice = (version: number, more: Partial<ClientNotice> = {}): ClientNotice => ({
  ...{ issuer: ISSUER, clientId: 'billing', version, tier: 'paid', limits: {}, disabled: false, removed: false },
  changedAtMs: 0,
  ...more,
});
const rate = (limit: number) => [{ limit, windowMs: 60_000 }];

test('an earlier or equal notice changes nothing, in whatever order they come', () => {
  const known = new KnownClients();
  assert.equal(known.put(notice(2, { tier: 'premium' })), true);
  assert.equal(known.put(notice(1)), false);
  assert.equal(known.put(notice(2)), false);
  assert.equal(known.get(ISSUER, 'billing')?.tier, 'premium');
  assert.equal(known.version, 1);
});

test('every notice that changes something counts the version and is told', () => {
  let told = 0;
  const known = new KnownClients(() => {
    told += 1;
  });
  known.put(notice(1));
  known.put(notice(1));
  known.put(notice(2, { disabled: true }));
  assert.deepEqual([known.version, told, known.size], [2, 2, 1]);
});

test('a removal is remembered, so that an older record does not come back', () => {
  const known = new KnownClients();
  known.put(notice(1));
  known.put(notice(2, { removed: true }));
  assert.deepEqual([known.get(ISSUER, 'billing'), known.size], [undefined, 0]);
  assert.equal(known.put(notice(1)), false);
  assert.equal(known.put(notice(3)), true);
  assert.equal(known.size, 1);
});

test("two issuers' clients of one id are two", () => {
  const known = new KnownClients();
  known.put(notice(1));
  assert.equal(known.get('https://other.test/', 'billing'), undefined);
  assert.equal(known.get(ISSUER, 'constructor'), undefined);
});

test('the control plane wins over the file, which fills in what is left open and may disable', () => {
  const known = new KnownClients();
  const written = { id: 'billing', issuer: 'corp', tier: 'free', limits: { a: rate(1), b: rate(2) }, disabled: false };
  const layered = layeredClients(staticClients({ billing: written }), known, (name) =>
    name === 'corp' ? ISSUER : undefined,
  );
  assert.equal(layered.get('corp', 'billing')?.tier, 'free');
  known.put(notice(1, { limits: { b: rate(3) } }));
  assert.deepEqual(layered.get('corp', 'billing'), {
    tier: 'paid',
    limits: { a: rate(1), b: rate(3) },
    disabled: false,
  });
  known.put(notice(2, { tier: undefined, disabled: true }));
  assert.deepEqual(layered.get('corp', 'billing'), {
    tier: 'free',
    limits: { a: rate(1), b: rate(2) },
    disabled: true,
  });
  assert.equal(layered.get('other', 'billing'), undefined);
  assert.equal(layered.version, 2);
  const disabling = layeredClients(staticClients({ billing: { ...written, disabled: true } }), known, () => ISSUER);
  known.put(notice(3));
  assert.equal(disabling.get('corp', 'billing')?.disabled, true);
});
