// Operators of one tenant: what of the table they reach, and that nothing of another tenant is read or changed through any row.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AdminDependencies } from '../../src/admin/dependencies.ts';
import { operations } from '../../src/admin/endpoints.ts';
import { fenced } from '../../src/admin/fence.ts';
import { codeOf, type TenancyWorld, tenancyWorld } from './tenancy-world.ts';

const reached = Object.entries(operations).filter(([, row]) => row.reach === 'tenant');
const closed = Object.entries(operations).filter(([, row]) => row.reach !== 'tenant');
const enc = encodeURIComponent;

/** The status of a call of acme's operator. */
async function status(w: TenancyWorld, method: string, path: string, body?: object): Promise<number> {
  return (await w.call(method, path, body === undefined ? {} : { body })).status;
}

const idsOf = async (w: TenancyWorld, path: string, member = 'id') => {
  const answer = await w.call('GET', path);
  assert.equal(answer.status, 200, answer.text);
  return [...answer.json.items].map((item) => String(item[member]));
};

/**
 * For every row that is open to operators of a tenant: that it works for what is theirs, and that what is another tenant's is
 * as good as not there. The world checks each answer for words of the other tenant, and the test all that is stored. In this
 * order, from what only reads to what ends things.
 */
const cases: Readonly<Record<string, (w: TenancyWorld) => Promise<void>>> = {
  async describeApi(w) {
    assert.equal(await status(w, 'GET', '/v1/openapi.json'), 200);
  },
  async listClients(w) {
    const own = [w.acme.client, w.acme.foreign, w.acme.revokedClient].toSorted();
    assert.deepEqual((await idsOf(w, '/v1/clients', 'client_id')).toSorted(), own);
    assert.deepEqual(await idsOf(w, '/v1/clients?tenant=beta', 'client_id'), []);
    assert.deepEqual(await idsOf(w, '/v1/clients?name=beta-shop', 'client_id'), []);
    const paged = await w.call('GET', '/v1/clients?limit=2');
    assert.deepEqual((await idsOf(w, `/v1/clients?cursor=${paged.json.next}`, 'client_id')).length, 1);
  },
  async showClient(w) {
    assert.equal(await status(w, 'GET', `/v1/clients/${w.acme.client}`), 200);
    assert.equal(await status(w, 'GET', `/v1/clients/${w.beta.client}`), 404);
    assert.equal(await status(w, 'GET', `/v1/clients/${w.beta.client}?issuer=self`), 404);
    assert.equal(await status(w, 'GET', `/v1/clients/${w.beta.foreign}?issuer=corp`), 404);
  },
  async listGrants(w) {
    assert.deepEqual(await idsOf(w, '/v1/grants'), [w.acme.grant, w.acme.second]);
    for (const filter of ['tenant=beta', `client=${w.beta.client}`, 'subject=beta-alice', 'session=beta-session']) {
      assert.deepEqual(await idsOf(w, `/v1/grants?${filter}`), [], filter);
    }
  },
  async listRevocations(w) {
    const own = [w.acme.revocations.family, w.acme.revocations.client].toSorted();
    assert.deepEqual((await idsOf(w, '/v1/revocations')).toSorted(), own);
  },
  async showRevocation(w) {
    assert.equal(await status(w, 'GET', `/v1/revocations/${w.acme.revocations.family}`), 200);
    for (const id of [...Object.values(w.beta.revocations), w.acme.revocations.session]) {
      assert.equal(await status(w, 'GET', `/v1/revocations/${id}`), 404);
    }
  },
  async listAudit(w) {
    assert.equal(await status(w, 'GET', '/v1/clients'), 200);
    const events = (await w.call('GET', '/v1/audit?limit=1000')).json.items;
    assert.deepEqual(new Set([...events].map((event) => String(event.tenant))), new Set(['acme']));
    const types = new Set([...events].map((event) => String(event.type)));
    for (const type of ['client.registered', 'code.minted', 'code.redeemed', 'admin.read'])
      assert.ok(types.has(type), type);
    for (const filter of ['tenant=beta', `client=${w.beta.client}`, `subject=${w.beta.subject}`]) {
      assert.deepEqual(await idsOf(w, `/v1/audit?${filter}`), [], filter);
    }
  },
  async introspectToken(w) {
    const active = async (token: string) => (await w.call('POST', '/v1/tokens/introspect', { body: { token } })).json;
    assert.equal((await active(w.acme.accessToken)).active, true);
    assert.deepEqual(await active(w.beta.accessToken), { active: false });
    const free = await w.it.issue({ subject: 'free', client: 'free' });
    assert.deepEqual(await active(free), { active: false });
  },
  async issueToken(w) {
    const body = { subject: 'acme-bob', client: w.acme.client, scopes: ['read'] };
    const { json } = await w.call('POST', '/v1/tokens', {
      body: { ...body, claims: { org: 'gamma', org_id: 'gamma' } },
    });
    const seen = await w.it.admin('POST', '/v1/tokens/introspect', { body: { token: String(json.token) } });
    assert.deepEqual([seen.json.active, seen.json.tenant], [true, 'acme']);
    assert.equal(await status(w, 'POST', '/v1/tokens', { ...body, tenant: 'beta' }), 403);
    for (const more of [
      { client: w.beta.client },
      { client: w.acme.foreign },
      { scopes: ['admin'] },
      { audience: ['x'] },
    ]) {
      assert.equal(await status(w, 'POST', '/v1/tokens', { ...body, ...more }), 422, JSON.stringify(more));
    }
  },
  async mintCode(w) {
    const { body } = codeOf(w.acme.client, 'acme-bob');
    assert.equal(await status(w, 'POST', '/v1/codes', body), 201);
    assert.equal(await status(w, 'POST', '/v1/codes', { ...body, tenant: 'beta' }), 422);
    assert.equal(await status(w, 'POST', '/v1/codes', codeOf(w.beta.client, 'bob').body), 422);
    const [free] = [...(await w.it.admin('GET', '/v1/clients?name=beta-free')).json.items];
    assert.equal(await status(w, 'POST', '/v1/codes', codeOf(String(free?.client_id), 'bob').body), 422);
  },
  async addClient(w) {
    const { json } = await w.call('POST', '/v1/clients', { body: { name: 'acme-new', scopes: ['read'] } });
    assert.deepEqual([json.tenant, json.tier], ['acme', null]);
    assert.equal(await status(w, 'POST', '/v1/clients', { name: 'x', tenant: 'beta' }), 403);
    assert.equal(await status(w, 'POST', '/v1/clients?dry_run=true', { name: 'x', tenant: 'beta' }), 403);
    for (const field of [{ client_id: w.beta.client }, { client_id: 'free' }, { tier: 'gold' }, { limits: {} }]) {
      assert.equal(await status(w, 'POST', '/v1/clients', { name: 'x', ...field }), 422);
    }
    // Ids of a foreign issuer are nobody's to claim: a disabled record would shut out whoever has that id there.
    assert.equal(await status(w, 'POST', '/v1/clients', { name: 'x', issuer: 'corp', disabled: true }), 422);
  },
  async replaceClient(w) {
    const body = { name: 'acme-shop', scopes: ['read', 'openid'], grant_types: ['client_credentials'] };
    assert.equal((await w.call('PUT', `/v1/clients/${w.acme.revokedClient}`, { body })).json.tenant, 'acme');
    assert.equal(await status(w, 'PUT', `/v1/clients/${w.beta.client}`, body), 404);
    assert.equal(await status(w, 'PUT', `/v1/clients/${w.acme.client}`, { ...body, tenant: 'beta' }), 403);
    const partner = { name: 'partner' };
    assert.equal(await status(w, 'PUT', `/v1/clients/${w.acme.foreign}?issuer=corp`, partner), 200);
    // Whether another tenant has a record of this id or nobody does: the same answer, and none is made.
    assert.equal(await status(w, 'PUT', `/v1/clients/${w.beta.foreign}?issuer=corp`, partner), 404);
    assert.equal(await status(w, 'PUT', '/v1/clients/nobodys?issuer=corp', partner), 404);
  },
  async changeClient(w) {
    assert.equal(await status(w, 'PATCH', `/v1/clients/${w.acme.client}`, { name: 'acme-shop' }), 200);
    assert.equal(await status(w, 'PATCH', `/v1/clients/${w.beta.client}`, { disabled: true }), 404);
    assert.equal(await status(w, 'PATCH', `/v1/clients/${w.beta.foreign}?issuer=corp`, { disabled: true }), 404);
    assert.equal(await status(w, 'PATCH', `/v1/clients/${w.acme.client}`, { tenant: 'beta' }), 403);
    assert.equal(await status(w, 'PATCH', `/v1/clients/${w.acme.client}?dry_run=true`, { tenant: 'beta' }), 403);
    assert.equal(await status(w, 'PATCH', `/v1/clients/${w.beta.client}?dry_run=true`, { name: 'x' }), 404);
    assert.equal(await status(w, 'PATCH', `/v1/clients/${w.acme.client}`, { tier: 'gold' }), 422);
    const { json } = await w.call('PATCH', `/v1/clients/${w.acme.client}`, { body: { tenant: null } });
    assert.equal(json.tenant, 'acme', 'it cannot leave its tenant');
  },
  async addClientSecret(w) {
    assert.equal(await status(w, 'POST', `/v1/clients/${w.acme.revokedClient}/secrets`, {}), 201);
    assert.equal(await status(w, 'POST', `/v1/clients/${w.beta.client}/secrets`, {}), 404);
    assert.equal(await status(w, 'POST', `/v1/clients/${w.beta.revokedClient}/secrets`, {}), 404);
  },
  async removeClientSecret(w) {
    assert.equal(await status(w, 'DELETE', `/v1/clients/${w.acme.client}/secrets/${w.acme.secretId}`), 204);
    assert.equal(await status(w, 'DELETE', `/v1/clients/${w.beta.client}/secrets/${w.beta.secretId}`), 404);
    assert.equal(await status(w, 'DELETE', `/v1/clients/${w.acme.client}/secrets/${w.beta.secretId}`), 404);
  },
  async removeClient(w) {
    const { json } = await w.call('POST', '/v1/clients', { body: { name: 'acme-short' } });
    assert.equal(await status(w, 'DELETE', `/v1/clients/${json.client_id}`), 204);
    assert.equal(await status(w, 'DELETE', `/v1/clients/${w.beta.client}`), 404);
    assert.equal(await status(w, 'DELETE', `/v1/clients/${w.beta.foreign}?issuer=corp`), 404);
  },
  async endGrants(w) {
    const ended = async (body: object) => (await w.call('POST', '/v1/grants/end', { body })).json.grants;
    assert.equal(await ended({ subject: w.beta.subject }), 0);
    assert.equal(await ended({ session: 'beta-session' }), 0);
    assert.equal(await ended({ subject: w.beta.subject, except_session: 'x' }), 0);
    assert.equal((await w.it.proxy('/', w.beta.accessToken)).status, 200);
    assert.equal(await ended({ session: 'acme-second' }), 1);
    assert.deepEqual(await idsOf(w, '/v1/grants'), [w.acme.grant]);
  },
  async endGrant(w) {
    assert.equal(await status(w, 'DELETE', `/v1/grants/${w.beta.grant}`), 404);
    assert.equal((await w.it.proxy('/', w.beta.accessToken)).status, 200);
    assert.equal((await w.it.proxy('/', w.acme.accessToken)).status, 200);
    assert.equal(await status(w, 'DELETE', `/v1/grants/${w.acme.grant}`), 204);
    assert.equal((await w.it.proxy('/', w.acme.accessToken)).status, 401);
  },
  async revoke(w) {
    const revoke = (kind: string, id: string, issuer = 'self', more: object = {}) =>
      status(w, 'POST', '/v1/revocations', { kind, id, issuer, ...more });
    const refused: readonly (readonly [string, string, string?])[] = [
      ['tenant', 'beta'],
      ['tenant', 'acme', 'corp'],
      ['client', w.beta.client],
      ['client', w.beta.foreign, 'corp'],
      ['client', w.acme.foreign],
      ['client', 'nobodys', 'corp'],
      ['family', w.beta.grant],
      // Nothing proves whose these are, not even when they look like the tenant's own.
      ['session', 'acme-session'],
      ['subject', w.acme.subject],
      ['subject', w.beta.subject],
      ['token', 'some-jti'],
      ['key', 'some-kid'],
    ];
    for (const [kind, id, issuer] of refused) {
      assert.equal(await revoke(kind, id, issuer), 403, `${kind} ${id}`);
      assert.equal(await revoke(kind, id, issuer, { dry_run: true }), 403, `dry ${kind} ${id}`);
    }
    assert.equal(await status(w, 'POST', '/v1/revocations', { token: w.beta.accessToken }), 403);
    assert.equal((await w.it.proxy('/', w.beta.accessToken)).status, 200);
    assert.equal(await revoke('client', w.acme.foreign, 'corp'), 201);
    assert.equal(await revoke('family', w.acme.grant), 201);
    const leaked = await w.it.issue({ subject: 'acme-bob', client: w.acme.client, tenant: 'acme' });
    assert.equal(await status(w, 'POST', '/v1/revocations', { token: leaked, dry_run: true }), 200);
    assert.equal(await status(w, 'POST', '/v1/revocations', { token: leaked }), 201);
    assert.equal((await w.it.proxy('/', leaked)).status, 401);
    assert.equal(await revoke('tenant', 'acme', 'self', { until: '1h' }), 201);
  },
};

test('K16: every row of the table is closed to operators of a tenant, or has a case that proves its fence', () => {
  assert.deepEqual(reached.map(([name]) => name).toSorted(), Object.keys(cases).toSorted());
  assert.ok(closed.length > 20);
});

test('K16: every closed row refuses an operator of a tenant who may do everything, and nothing happens', {
  timeout: 120_000,
}, async (t) => {
  await using w = await tenancyWorld();
  const before = await w.others();
  for (const [name, { method, path }] of closed) {
    await t.test(name, async () => {
      const target = path.replaceAll('{kid}', 'x').replaceAll(/\{\w+\}/g, enc('corp/web'));
      const answer = await w.call(method, target, method === 'POST' ? { body: {} } : {});
      assert.deepEqual([answer.status, answer.json.code], [403, 'forbidden'], answer.text);
    });
  }
  assert.deepEqual(await w.others(), before);
  const events = (await w.it.admin('GET', '/v1/audit?type=auth.forbidden&limit=1000')).json.items;
  assert.equal([...events].filter(({ reason }) => String(reason) === 'tenant_exceeded').length, closed.length);
});

test("K16: through no open row does tenant A's operator read or change anything of tenant B", {
  timeout: 120_000,
}, async (t) => {
  await using w = await tenancyWorld();
  const before = await w.others();
  for (const [name, proves] of Object.entries(cases)) {
    await t.test(name, async () => {
      await proves(w);
      assert.deepEqual(await w.others(), before);
    });
  }
});

test('K16: a desk that is not fenced refuses whatever is asked of it, also for a row that was opened by mistake', () => {
  const whole = new Proxy({}, { get: () => () => [] }) as unknown as AdminDependencies;
  const handed = fenced({ ...whole, tokens: { ...whole.tokens, issuers: () => [] } } as AdminDependencies, 'acme');
  const plain = ['clock', 'log', 'metrics', 'version', 'application', 'startedAtMs', 'hostNames'];
  const fencedDesks = ['tokens', 'revocations', 'clients', 'grants', 'auditDesk', 'refusedElsewhere'];
  const shut = Object.entries(handed).filter(([name]) => ![...plain, ...fencedDesks].includes(name));
  assert.ok(shut.length > 10);
  for (const [name, desk] of shut) {
    assert.throws(() => (desk as () => unknown)(), { reason: 'tenant_exceeded' }, name);
    assert.throws(() => (desk as { list: unknown }).list, { reason: 'tenant_exceeded' }, name);
  }
});

test('K16: what an operator of a tenant revokes cannot weaken what somebody mightier has revoked', async () => {
  await using w = await tenancyWorld();
  const suspended = { kind: 'tenant', issuer: 'self', id: 'acme' };
  const { json } = await w.it.admin('POST', '/v1/revocations', { body: { ...suspended, until: 'forever' } });
  for (const weaker of [{ until: '1h' }, { until: 'forever', not_before: 'now' }]) {
    assert.equal(await status(w, 'POST', '/v1/revocations', { ...suspended, ...weaker }), 403);
  }
  assert.equal(await status(w, 'POST', '/v1/revocations', { ...suspended, until: 'forever' }), 201);
  assert.equal(await status(w, 'DELETE', `/v1/revocations/${json.id}`), 403);
  const token = await w.it.issue({ subject: 'acme-bob', client: w.acme.client, tenant: 'acme' });
  assert.equal((await w.it.proxy('/', token)).status, 401);
});

test('K16: an operator of a tenant is listed with it, is refused once removed, and cannot manage operators', async () => {
  await using w = await tenancyWorld();
  const { items } = (await w.it.admin('GET', '/v1/operators')).json;
  assert.deepEqual(
    [...items].map(({ name, tenant }) => [name, tenant]),
    [
      ['acme-ops', 'acme'],
      ['first', null],
    ],
  );
  assert.equal(await status(w, 'POST', '/v1/operators', { name: 'mine', role: 'viewer', tenant: 'acme' }), 403);
  assert.equal((await w.it.admin('DELETE', `/v1/operators/${w.operatorId}`)).status, 204);
  assert.equal(await status(w, 'GET', '/v1/clients'), 401);
});

test('K16: a release that knows no tenants sees an operator of one without any permission', async () => {
  await using w = await tenancyWorld();
  // What such a release reads, and nothing else.
  const [row] = await w.database.sql`select role, permissions from operator where id = ${w.operatorId}`;
  assert.deepEqual(row, { role: null, permissions: [] });
  await assert.rejects(w.database.sql`update operator set permissions = array['*'] where id = ${w.operatorId}`);
});

test('K16: a client of a tenant with the scope `introspect` asks about tokens of its tenant alone', async () => {
  await using w = await tenancyWorld();
  const { json } = await w.call('POST', '/v1/clients', { body: { name: 'acme-gateway', scopes: ['introspect'] } });
  const active = async (token: string) => {
    const answer = await fetch(`${w.it.sidecar.proxyUrl}/.doorward/oauth/introspect`, {
      method: 'POST',
      headers: {
        authorization: `Basic ${Buffer.from(`${json.client_id}:${json.client_secret}`).toString('base64')}`,
      },
      body: new URLSearchParams({ token }),
    });
    return ((await answer.json()) as { active: boolean }).active;
  };
  assert.equal(await active(w.acme.accessToken), true);
  assert.equal(await active(w.beta.accessToken), false, 'of another tenant');
  assert.equal(await active(await w.it.issue({ subject: 'root', client: 'web' })), false, 'of none');
});

test('K16 attack 124: an operator of a tenant has us fetch keys from public hosts only', async () => {
  await using w = await tenancyWorld();
  const method = { token_endpoint_auth_method: 'private_key_jwt', grant_types: ['client_credentials'] };
  for (const jwks_uri of ['http://127.0.0.1:9901/', 'https://169.254.169.254/', 'https://vault.internal/keys']) {
    for (const [verb, path] of [
      ['POST', '/v1/clients'],
      ['POST', '/v1/clients?dry_run=true'],
      ['PATCH', `/v1/clients/${w.acme.client}`],
      ['PUT', `/v1/clients/${w.acme.client}`],
    ] as const) {
      const answer = await w.call(verb, path, { body: { name: 'n', ...method, redirect_uris: [], jwks_uri } });
      assert.deepEqual([answer.status, answer.json.errors[0]?.path], [422, 'jwks_uri'], `${verb} ${path}`);
    }
  }
  const jwks_uri = 'https://keys.example.com/jwks';
  assert.equal(await status(w, 'POST', '/v1/clients', { name: 'n', ...method, jwks_uri }), 201);
});
