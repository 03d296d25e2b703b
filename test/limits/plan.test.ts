import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { addressKey, addressMatcher } from '../../src/core/address.ts';
import { type ClientRecord, type ClientRecords, staticClients } from '../../src/limits/clients.ts';
import { compileLimits, LimitMemo } from '../../src/limits/plan.ts';
import { charges, ISSUER, keysOf, planOf, plansOf, principal } from './fixtures.ts';

test('attack 99: IPv6 counts by /64, ::ffff: is IPv4, and two IPv4 clients never share', () => {
  assert.equal(addressKey('2001:db8:1:2:3:4:5:6'), addressKey('2001:db8:1:2:ffff::1'));
  assert.notEqual(addressKey('2001:db8:1:2::1'), addressKey('2001:db8:1:3::1'));
  assert.equal(addressKey('::ffff:1.2.3.4'), '1.2.3.4');
  assert.equal(addressKey('::ffff:102:304'), '1.2.3.4');
  assert.equal(addressKey('2001:DB8:0:0::1'), addressKey('2001:db8::2'));
  assert.equal(addressKey('fe80::1%eth0'), addressKey('fe80::2%eth1'));
  assert.notEqual(addressKey('1.2.3.4'), addressKey('1.2.3.5'));
});

test('exempt addresses match in every spelling, and only inside the range', () => {
  const matches = addressMatcher(['10.0.0.0/8', '::ffff:192.0.2.0/120', '2001:db8::/32', '203.0.113.7']);
  for (const inside of ['10.1.2.3', '::ffff:10.1.2.3', '192.0.2.9', '2001:db8:ff::1', '203.0.113.7']) {
    assert.equal(matches(inside), true, inside);
  }
  for (const outside of ['11.0.0.1', '192.0.3.1', '2001:db9::1', '203.0.113.8', 'nonsense', '']) {
    assert.equal(matches(outside), false, outside);
  }
  const plan = planOf({ per_ip: { key: 'ip', rate: '5/1m', exempt: ['10.0.0.0/8'] } });
  assert.deepEqual(charges(plan, '10.9.9.9').charges, []);
  assert.equal(charges(plan, '192.0.2.1').charges.length, 1);
});

test('attack 103: no two different callers, limits or applications share a key, whatever their ids hold', () => {
  const limits = { per_client: { key: ['client', 'tenant'] as ('client' | 'tenant')[], rate: '5/1m' as const } };
  const plan = planOf(limits);
  const id = fc.string({
    unit: fc.constantFrom(':', '{', '}', '\n', ',', '"', '[', ']', 'a', '\ud800', '\udc01', '|'),
  });
  const seen = new Map<string, string>();
  fc.assert(
    fc.property(id, id, fc.constantFrom(ISSUER, `${ISSUER}/`, ''), (client, tenant, issuer) => {
      const [key] = keysOf(plan, '192.0.2.1', principal({ client, tenant, issuer }));
      const who = JSON.stringify([client, tenant, issuer]);
      assert.equal(seen.get(key as string) ?? who, who);
      seen.set(key as string, who);
    }),
  );
  const other = keysOf(planOf(limits, {}, 'other'), '192.0.2.1', principal());
  const otherName = keysOf(planOf({ per_client_: limits.per_client }), '192.0.2.1', principal());
  assert.equal(new Set([...keysOf(plan, '192.0.2.1', principal()), ...other, ...otherName]).size, 3);
});

test('shared limits span applications; others do not', () => {
  const limits = { all: { key: 'client' as const, rate: '5/1m', shared: true } };
  assert.deepEqual(
    keysOf(planOf(limits, {}, 'a'), '192.0.2.1', principal()),
    keysOf(planOf(limits, {}, 'b'), '192.0.2.1', principal()),
  );
});

test('one bucket wherever a limit is named; route in the key splits it', () => {
  const routes = {
    a: { match: { prefix: '/a' }, limits: ['one', 'split'] },
    b: { match: { prefix: '/b' }, limits: ['one', 'split'] },
  };
  const plans = plansOf({
    limits: { one: { key: 'ip', rate: '5/1m' }, split: { key: ['ip', 'route'], rate: '5/1m' } },
    routes,
  });
  const [one, split] = keysOf(plans.get('a')!, '192.0.2.1');
  const [sameOne, otherSplit] = keysOf(plans.get('b')!, '192.0.2.1');
  assert.equal(one, sameOne);
  assert.notEqual(split, otherSplit);
});

test('an absent client counts as the subject, then as the address; two issuers never meet', () => {
  const plan = planOf({ per_client: { key: 'client', rate: '5/1m' }, per_subject: { key: 'subject', rate: '5/1m' } });
  const bare = principal({ client: undefined });
  const [asClient] = keysOf(plan, '192.0.2.1', bare);
  assert.deepEqual(keysOf(plan, '192.0.2.9', bare)[0], asClient);
  assert.notEqual(
    keysOf(plan, '192.0.2.1', principal({ client: 'alice' }))[0],
    asClient,
    'client alice is not subject alice',
  );
  assert.notEqual(keysOf(plan, '192.0.2.1', principal({ client: undefined, issuer: 'https://other' }))[0], asClient);
  const nobody = principal({ client: undefined, subject: undefined });
  assert.notEqual(keysOf(plan, '192.0.2.1', nobody)[0], keysOf(plan, '192.0.2.2', nobody)[0]);
  assert.equal(keysOf(plan, '192.0.2.1', nobody)[0], keysOf(plan, '192.0.2.1')[0]);
});

test('attack 111: a claim in a key is only ever a name for a bucket, of any type', () => {
  const plan = planOf({ per_org: { key: { claim: ['org', 'id'] }, rate: '5/1m' } });
  const of = (id: unknown) => keysOf(plan, '192.0.2.1', principal({ claims: { org: { id } } }))[0];
  assert.equal(new Set([of(1), of('1'), of(true), of([1]), of({ a: 1 }), of(-1), of(2 ** 53)]).size, 7);
  assert.equal(of(undefined), of(null), 'absent counts as the subject');
  assert.equal(keysOf(plan, '192.0.2.1', principal({ claims: { org: 'x' } }))[0], of(undefined));
});

test('tiers come from the record, own rates win, unknown tiers take the default', () => {
  const limits = {
    per_client: { key: 'client' as const, tiers: { free: '10/1h', paid: ['100/1h', '5/1s'] }, default_tier: 'free' },
  };
  const issuers = { corp: { issuer: ISSUER, audience: 'api' } };
  const clients = {
    paid: { id: 'paid', issuer: 'corp', tier: 'paid' },
    own: { id: 'own', issuer: 'corp', tier: 'paid', limits: { per_client: '7/1m' } },
    odd: { id: 'odd', issuer: 'corp', tier: 'gold' },
    gone: { id: 'gone', issuer: 'corp', disabled: true },
  };
  const plan = planOf(limits, { issuers, clients });
  const of = (client: string) => charges(plan, '192.0.2.1', principal({ client }));
  const free = [{ limit: 10, windowMs: 3_600_000 }];
  assert.deepEqual(of('nobody').charges[0]?.rates, free);
  assert.deepEqual(of('odd').charges[0]?.rates, free);
  assert.deepEqual(of('paid').charges[0]?.rates, [
    { limit: 100, windowMs: 3_600_000 },
    { limit: 5, windowMs: 1000 },
  ]);
  assert.equal(of('paid').policy, '"per_client";q=100;w=3600, "per_client_2";q=5;w=1');
  assert.deepEqual(of('own').charges[0]?.rates, [{ limit: 7, windowMs: 60_000 }]);
  assert.deepEqual([of('gone').disabled, of('paid').disabled], [true, false]);
  const foreign = charges(plan, '192.0.2.1', principal({ client: 'paid', issuerName: 'other' }));
  assert.deepEqual(foreign.charges[0]?.rates, free, "another issuer's client of that name is nobody");
});

test('a limit without usable rates is refused when it is compiled', () => {
  for (const limit of [
    { key: 'ip' as const },
    { key: 'ip' as const, tiers: { free: '1/1s' }, default_tier: 'paid' },
    { key: 'ip' as const, tiers: { free: '1/1s' }, default_tier: 'constructor' },
  ]) {
    assert.throws(() => planOf({ bad: limit }), { kind: 'misconfigured' });
  }
});

test('the same objects are handed out while nothing changes, and new ones when a record does', () => {
  let record: ClientRecord = { tier: 'a', limits: {}, disabled: false };
  const records = { version: 1, get: () => record };
  const tiers = { a: [{ limit: 1, windowMs: 1000 }], b: [{ limit: 2, windowMs: 1000 }] };
  const common = { algorithm: 'sliding', mode: 'enforce', on_store_down: 'local', exempt: [], shared: false } as const;
  const plan = compileLimits(
    {
      limits: {
        per_client: { key: ['client'], tiers, default_tier: 'a', ...common },
        per_ip: { key: ['ip'], rate: tiers.a, ...common },
      },
      defaults: { limits: ['per_client', 'per_ip'] },
      routes: { all: {} },
    },
    'shop',
    records satisfies ClientRecords,
  ).get('all')!;
  const memo = new LimitMemo();
  const who = principal();
  const first = charges(plan, '192.0.2.1', who, memo);
  assert.equal(charges(plan, '192.0.2.1', who, memo), first);
  const elsewhere = charges(plan, '192.0.2.2', who, memo);
  assert.equal(elsewhere.charges[0], first.charges[0], 'the charge of the client stays');
  assert.notEqual(elsewhere.charges[1]?.key, first.charges[1]?.key);
  assert.equal(charges(plan, '192.0.2.9'), charges(plan, '192.0.2.9'), 'anonymous ones too');
  record = { tier: 'b', limits: {}, disabled: true };
  records.version = 2;
  const changed = charges(plan, '192.0.2.2', who, memo);
  assert.deepEqual([changed.charges[0]?.rates[0]?.limit, changed.disabled], [2, true]);
  assert.equal(staticClients({}).get('corp', 'constructor'), undefined);
});

test('a claim-less principal without a subject never shares a remembered charge between addresses', () => {
  const plan = planOf({ per_tenant: { key: 'tenant', rate: '5/1m' } });
  const memo = new LimitMemo();
  const who = principal({ tenant: undefined, subject: undefined });
  const a = charges(plan, '192.0.2.1', who, memo).charges[0]?.key;
  assert.notEqual(charges(plan, '192.0.2.2', who, memo).charges[0]?.key, a);
});
