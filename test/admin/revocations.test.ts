// Revoking, listing and taking back over the admin port; what a revocation does to traffic.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../support/free-port.ts';
import { mintKey, mintToken } from '../support/minting.ts';
import { FOREIGN, startAdminSidecar } from './admin-sidecar.ts';

test('L6: once the call to revoke has answered, the next request with the token is refused and the upstream sees nothing', async () => {
  await using it = await startAdminSidecar();
  const token = await it.issue();
  assert.equal((await it.proxy('/', token)).status, 200);
  it.upstream.clear();
  const answer = await it.admin('POST', '/v1/revocations', { body: { token, reason: 'leaked' } });
  assert.deepEqual([answer.status, answer.json.applied], [201, 'all']);
  const refused = await it.proxy('/', token);
  assert.deepEqual([refused.status, refused.json.code], [401, 'invalid_token']);
  assert.equal(it.upstream.bytes(), '');
});

test('L7: a revocation is readable with revoked_at, reason and jti, and a second one replaces its reason', async () => {
  await using it = await startAdminSidecar();
  const { json: issued } = await it.admin('POST', '/v1/tokens', { body: { subject: 'a', client: 'b' } });
  const { json: first } = await it.admin('POST', '/v1/revocations', { body: { token: issued.token, reason: 'first' } });
  const { json: second } = await it.admin('POST', '/v1/revocations', {
    body: { token: issued.token, reason: 'second' },
  });
  assert.equal(first.id, second.id);
  const { json: shown } = await it.admin('GET', `/v1/revocations/${first.id}`);
  assert.deepEqual([shown.kind, shown.jti, shown.reason, shown.pending], ['token', issued.token_id, 'second', false]);
  assert.ok(Math.abs(Date.parse(String(shown.revoked_at)) - Date.now()) < 60_000);
  const { json: list } = await it.admin('GET', '/v1/revocations');
  assert.equal(list.items.length, 1);
});

test('H10: a revoked token is denied until its exp and tolerance, and the entry is gone after its time', async () => {
  await using it = await startAdminSidecar();
  const { json: issued } = await it.admin('POST', '/v1/tokens', {
    body: { subject: 'a', client: 'b', lifetime: '5m' },
  });
  const { json: revoked } = await it.admin('POST', '/v1/revocations', { body: { token: issued.token } });
  assert.equal(Date.parse(String(revoked.until)) - Date.parse(String(issued.expires_at)), 60_000);
  const short = { kind: 'session', issuer: 'self', id: 's1', until: '300ms' };
  const { json: brief } = await it.admin('POST', '/v1/revocations', { body: short });
  assert.equal((await it.admin('GET', `/v1/revocations/${brief.id}`)).status, 200);
  for (let tries = 0; (await it.admin('GET', `/v1/revocations/${brief.id}`)).status === 200; tries += 1) {
    assert.ok(tries < 200, 'the entry outlives its time');
    await sleep(20);
  }
});

test('attack 87: revoking a long expired, unknown or other-format token answers 200 and changes nothing', async () => {
  await using it = await startAdminSidecar();
  const iat = Math.floor(Date.now() / 1000) - 2 * 86_400;
  const cases = {
    token_expired: mintToken(it.key, FOREIGN, 0, { claims: { iat, exp: iat + 60 } }),
    token_signature_invalid: mintToken(mintKey('ES256'), FOREIGN, Date.now()),
    token_issuer_unknown: mintToken(it.key, 'https://evil.example/', Date.now()),
    token_malformed: 'opaque-refresh-token',
  };
  for (const [harmless, token] of Object.entries(cases)) {
    const { status, json } = await it.admin('POST', '/v1/revocations', { body: { token } });
    assert.deepEqual([status, json], [200, { id: null, until: null, applied: 'all', harmless }], harmless);
  }
  assert.deepEqual((await it.admin('GET', '/v1/revocations')).json, { items: [] });
});

test('a token that expired lately is revoked: the clock of this replica may be ahead of another that serves it', async () => {
  await using it = await startAdminSidecar();
  const iat = Math.floor(Date.now() / 1000) - 7200;
  const token = mintToken(it.key, FOREIGN, 0, { claims: { iat, exp: iat + 60 } });
  const { status, json } = await it.admin('POST', '/v1/revocations', { body: { token } });
  assert.equal(status, 201, JSON.stringify(json));
  assert.ok(Date.parse(String(json.until)) > Date.now(), 'the entry is there when the clock is put right');
  assert.equal((await it.admin('GET', `/v1/revocations/${json.id}`)).status, 200);
});

test('a token whose issuer cannot be reached is revoked by what it says, for no longer than it could live', async () => {
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  await using it = await startAdminSidecar((config) => ({
    ...config,
    issuers: {
      ...config.issuers,
      away: { issuer, audience: ['api'], keys: { url: `${issuer}/jwks`, timeout: '200ms' } },
    },
  }));
  const token = mintToken(it.key, issuer, Date.now(), { claims: { exp: 9e9 } });
  const { status, json } = await it.admin('POST', '/v1/revocations', { body: { token } });
  assert.equal(status, 201);
  assert.ok(Date.parse(String(json.until)) < Date.now() + 25 * 3_600_000);
});

test('attack 87: a forged token that bears the id of a revoked one cannot shorten its revocation', async () => {
  await using it = await startAdminSidecar();
  const { json: issued } = await it.admin('POST', '/v1/tokens', {
    body: { subject: 'a', client: 'b', lifetime: '1h' },
  });
  const { json: revoked } = await it.admin('POST', '/v1/revocations', { body: { token: issued.token } });
  const soon = Math.floor(Date.now() / 1000) + 5;
  const forged = mintToken(mintKey('ES256'), String(issued.issuer), Date.now(), {
    header: { typ: 'other+jwt' },
    claims: { jti: issued.token_id, exp: soon },
  });
  const { status, json } = await it.admin('POST', '/v1/revocations', { body: { token: forged } });
  assert.deepEqual([status, json.id], [201, revoked.id]);
  const { json: shown } = await it.admin('GET', `/v1/revocations/${revoked.id}`);
  assert.ok(Date.parse(String(shown.until)) >= Date.parse(String(revoked.until)), `${shown.until} < ${revoked.until}`);
});

test('the words of the control plane cannot be the reason for which an operator revokes a client', async () => {
  await using it = await startAdminSidecar();
  for (const reason of ['client_disabled', 'client_disabled_after_revocation', 'client_removed']) {
    const body = { kind: 'client', issuer: 'self', id: 'web', reason };
    const { status, json } = await it.admin('POST', '/v1/revocations', { body });
    assert.deepEqual([status, json.errors?.[0]?.path], [422, 'reason']);
  }
});

test('a revocation that is taken back lets the token pass again, and is not there a second time', async () => {
  await using it = await startAdminSidecar();
  const token = await it.issue();
  const { json } = await it.admin('POST', '/v1/revocations', { body: { token } });
  assert.equal((await it.proxy('/', token)).status, 401);
  assert.equal((await it.admin('DELETE', `/v1/revocations/${json.id}`)).status, 204);
  assert.equal((await it.proxy('/', token)).status, 200);
  assert.equal((await it.admin('DELETE', `/v1/revocations/${json.id}`)).status, 404);
});

test('a subject is cut off on its own issuer only, and with not_before new logins pass', async () => {
  await using it = await startAdminSidecar();
  const own = await it.issue({ subject: 'alice' });
  const foreign = mintToken(it.key, FOREIGN, Date.now());
  const named = { kind: 'subject', issuer: 'self', id: 'alice' };
  const inAnHour = new Date(Date.now() + 3_600_000).toISOString();
  const anHourAgo = new Date(Date.now() - 3_600_000).toISOString();
  await it.admin('POST', '/v1/revocations', { body: { ...named, not_before: anHourAgo } });
  assert.deepEqual([(await it.proxy('/', own)).status, (await it.proxy('/', foreign)).status], [200, 200]);
  await it.admin('POST', '/v1/revocations', { body: { ...named, not_before: inAnHour } });
  assert.deepEqual([(await it.proxy('/', own)).status, (await it.proxy('/', foreign)).status], [401, 200]);
  await it.admin('POST', '/v1/revocations', { body: { ...named, until: 'forever' } });
  assert.equal((await it.proxy('/', await it.issue({ subject: 'alice' }))).status, 401);
});

test('a dry run counts what would be refused and refuses nothing', async () => {
  await using it = await startAdminSidecar();
  const tokens = await Promise.all([1, 2, 3].map(() => it.issue({ client: 'batch' })));
  for (const token of tokens) await it.proxy('/', token);
  const body = { kind: 'client', issuer: 'self', id: 'batch', dry_run: true };
  const { status, json } = await it.admin('POST', '/v1/revocations', { body });
  assert.deepEqual([status, json.would_refuse, json.dry_run], [200, 3, true]);
  assert.equal((await it.proxy('/', tokens[0])).status, 200);
  assert.deepEqual((await it.admin('GET', '/v1/revocations')).json.items, []);
});

test('the list comes in pages of any size, each entry once, newest first', async () => {
  await using it = await startAdminSidecar();
  for (const id of ['a', 'b', 'c', 'd', 'e']) {
    await it.admin('POST', '/v1/revocations', { body: { kind: 'session', issuer: 'self', id } });
  }
  const whole = (await it.admin('GET', '/v1/revocations')).json.items;
  for (const limit of [1, 2, 5, 6]) {
    const seen: unknown[] = [];
    let path = `/v1/revocations?limit=${limit}`;
    for (
      let next: string | undefined = '';
      next !== undefined;
      path = `/v1/revocations?limit=${limit}&cursor=${next}`
    ) {
      const { json } = await it.admin('GET', path);
      seen.push(...json.items);
      next = json.next === undefined ? undefined : String(json.next);
    }
    assert.deepEqual(seen, whole, `pages of ${limit}`);
  }
  const bad = await it.admin('GET', '/v1/revocations?cursor=nonsense');
  assert.equal(bad.status, 422);
});

test('what makes no sense is 422 with the field: forever for a token, a past until, an unknown issuer or kind', async () => {
  await using it = await startAdminSidecar();
  const cases: [object, string][] = [
    [{ kind: 'session', issuer: 'self', id: 'x', until: 'forever' }, 'until'],
    [{ kind: 'session', issuer: 'self', id: 'x', until: '2020-01-01T00:00:00Z' }, 'until'],
    [{ kind: 'session', issuer: 'self', id: 'x', until: '3600' }, 'until'],
    [{ kind: 'session', id: 'x' }, 'issuer'],
    [{ kind: 'session', issuer: 'https://evil.example/', id: 'x' }, 'issuer'],
    [{ kind: 'everything', issuer: 'self', id: 'x' }, 'kind'],
    [{ token: 'x', id: 'y' }, 'id'],
  ];
  for (const [body, path] of cases) {
    const { status, json } = await it.admin('POST', '/v1/revocations', { body });
    assert.equal(status, 422, JSON.stringify(body));
    assert.equal(json.errors[0]?.path, path);
  }
});
