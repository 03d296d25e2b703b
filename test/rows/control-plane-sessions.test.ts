// Rows of the reference systems about sessions: logging out, ending all of a person, one, all, or all but the current one. A
// session is the `sid` of a token family; refresh tokens and access tokens of it end together.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runHere } from '../cli/processes.ts';
import { type OAuthWorld, openOAuthWorld, type TestClient } from '../identity/world.ts';
import { startRedis } from '../support/redis-server.ts';
import { eventually } from './eventually.ts';

interface LoggedIn {
  readonly access: string;
  readonly refresh: string;
}

async function logIn(
  world: OAuthWorld,
  client: TestClient,
  more: Readonly<Record<string, unknown>>,
): Promise<LoggedIn> {
  const { status, json } = await world.login(client, more);
  assert.equal(status, 200);
  return { access: json.access_token, refresh: json.refresh_token };
}

const refreshed = async (world: OAuthWorld, client: TestClient, { refresh }: LoggedIn) =>
  (await world.as(client, 'token', { grant_type: 'refresh_token', refresh_token: refresh })).status;

/** Whether the access token passes, and whether the refresh token does. */
async function alive(world: OAuthWorld, client: TestClient, one: LoggedIn): Promise<readonly [boolean, boolean]> {
  return [(await world.call(one.access)) === 200, (await refreshed(world, client, one)) === 200];
}

async function end(world: OAuthWorld, body: object): Promise<Readonly<Record<string, unknown>>> {
  const answer = await world.admin('POST', '/v1/grants/end', body);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return answer.body as Readonly<Record<string, unknown>>;
}

const DEAD = [false, false];
const LIVE = [true, true];

test('C10: logging out refuses the access token, all refresh tokens and unspent codes of the session; it is 200 whenever asked', async () => {
  await using world = await openOAuthWorld();
  const [web, phone] = [await world.addClient(), await world.addClient()];
  const first = await logIn(world, web, { session: 's-1' });
  const second = await logIn(world, phone, { session: 's-1' });
  const other = await logIn(world, web, { session: 's-2' });
  const waiting = await world.code(web, { session: 's-1' });
  assert.equal(await world.call(first.access), 200);
  assert.deepEqual(await end(world, { session: 's-1', reason: 'logout' }), { grants: 2, codes: 1, applied: 'all' });
  assert.deepEqual(await alive(world, web, first), DEAD);
  assert.deepEqual(await alive(world, phone, second), DEAD);
  const form = { grant_type: 'authorization_code', redirect_uri: 'https://app.example/cb' };
  const late = await world.as(web, 'token', { ...form, code: waiting.code, code_verifier: waiting.verifier });
  assert.equal(late.json.error, 'invalid_grant');
  assert.deepEqual(await alive(world, web, other), LIVE);
  assert.deepEqual(await end(world, { session: 's-1' }), { grants: 0, codes: 0, applied: 'all' });
  assert.deepEqual(await end(world, { session: 'never there' }), { grants: 0, codes: 0, applied: 'all' });
});

test('C12: all sessions of a user end in one call that answers how many, on every client, and nobody else is touched', async () => {
  await using world = await openOAuthWorld();
  const [web, phone] = [await world.addClient(), await world.addClient()];
  const hers = [
    await logIn(world, web, { session: 's-1' }),
    await logIn(world, phone, { session: 's-2' }),
    await logIn(world, phone, {}),
  ];
  const bob = await logIn(world, web, { subject: 'bob', session: 's-3' });
  const issued = await world.admin('POST', '/v1/tokens', { subject: 'alice', client: 'batch' });
  const batch = (issued.body as { token: string }).token;
  assert.equal(await world.call(batch), 200);
  assert.deepEqual(await end(world, { subject: 'alice' }), { grants: 3, codes: 0, applied: 'all' });
  for (const one of hers) assert.equal(await world.call(one.access), 401);
  assert.equal(await world.call(batch), 401, 'a token that came of no grant');
  for (const [at, one] of hers.entries()) assert.equal(await refreshed(world, at === 0 ? web : phone, one), 400);
  assert.deepEqual(await alive(world, web, bob), LIVE);
  assert.deepEqual(await end(world, { subject: 'alice' }), { grants: 0, codes: 0, applied: 'all' });
  const { body } = await world.admin('GET', '/v1/grants?subject=alice');
  assert.deepEqual(body.items, []);
});

test('K11: one session, all, or all but the current one; the reason stands in the revocation list and in the audit log', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const logged = async () => [
    await logIn(world, client, { session: 's-1' }),
    await logIn(world, client, { session: 's-2' }),
    await logIn(world, client, {}),
  ];
  const states = async (all: readonly LoggedIn[]) => Promise.all(all.map((one) => alive(world, client, one)));
  const first = await logged();
  await world.code(client, { session: 's-1' });
  await world.code(client, { session: 's-2' });
  const others = { subject: 'alice', except_session: 's-2', reason: 'phone lost' };
  assert.deepEqual(await end(world, others), { grants: 2, codes: 1, applied: 'all' });
  assert.deepEqual(await states(first), [DEAD, LIVE, DEAD]);
  assert.equal((await end(world, { session: 's-2', reason: 'logout' })).grants, 1);
  const { body } = await world.admin('GET', '/v1/revocations');
  const reasons = (body.items as { kind: string; reason: string }[]).map(({ kind, reason }) => `${kind} ${reason}`);
  assert.deepEqual(reasons.sort(), ['family phone lost', 'family phone lost', 'session logout']);
  const { body: log } = await world.admin('GET', '/v1/audit?type=grant.revoked&subject=alice');
  const [event] = log.items as { actor: { kind: string }; details: Record<string, unknown> }[];
  const { reason, grants, codes, except_session } = event?.details ?? {};
  assert.deepEqual([event?.actor.kind, reason, grants, codes, except_session], ['operator', 'phone lost', 2, 1, 's-2']);
});

test('K11: all but one grant, when that is what the current session is known by', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const [old, current] = [await logIn(world, client, {}), await logIn(world, client, {})];
  const { body } = await world.admin('GET', '/v1/grants?subject=alice&limit=1');
  const [newest] = body.items as { id: string }[];
  assert.equal((await end(world, { subject: 'alice', except_grant: newest?.id })).grants, 1);
  assert.deepEqual(await alive(world, client, old), DEAD);
  assert.deepEqual(await alive(world, client, current), LIVE);
});

test('K11: ending the sessions of somebody who is shut out leaves that in force', async () => {
  await using world = await openOAuthWorld();
  const ban = { kind: 'subject', id: 'alice', until: 'forever', reason: 'fraud' };
  const { body: banned } = await world.admin('POST', '/v1/revocations', ban);
  await end(world, { subject: 'alice', reason: 'logout' });
  const { body } = await world.admin('GET', `/v1/revocations/${banned.id}`);
  assert.deepEqual([body.until, body.not_before, body.reason], ['forever', undefined, 'fraud']);
  const { body: issued } = await world.admin('POST', '/v1/tokens', { subject: 'alice', client: 'web' });
  assert.equal(await world.call(String(issued.token)), 401);
});

test('K11: what would be unclear is refused by field, and nothing ends', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const one = await logIn(world, client, { session: 's-1' });
  const fields = async (body: object) => {
    const answer = await world.admin('POST', '/v1/grants/end', body);
    return [answer.status, ((answer.body.errors ?? []) as { path: string }[]).map(({ path }) => path)];
  };
  assert.deepEqual(await fields({}), [422, ['subject']]);
  assert.deepEqual(await fields({ except_session: 's-1' }), [422, ['subject']]);
  assert.deepEqual(await fields({ subject: 'alice', session: 's-1' }), [422, ['subject']]);
  assert.deepEqual(await fields({ session: 's-1', except_session: 's-1' }), [422, ['except_session']]);
  assert.deepEqual(await alive(world, client, one), LIVE);
});

test('C10: a logout on one replica is one on every other before it is answered', async () => {
  await using redis = await startRedis();
  await using world = await openOAuthWorld({ name: 'rows', redis: { url: { value: redis.url }, timeout: '1s' } });
  await using other = await world.replica();
  const client = await world.addClient();
  const one = await logIn(world, client, { session: 's-1' });
  assert.equal(await world.call(one.access, other), 200);
  assert.equal((await end(world, { session: 's-1' })).applied, 'all');
  assert.equal(await world.call(one.access, other), 401);
});

test('K11: the command line ends one session or all but one, and refuses what says neither', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const [first, second] = [
    await logIn(world, client, { session: 's-1' }),
    await logIn(world, client, { session: 's-2' }),
  ];
  const at = ['--admin', world.sidecar.adminUrl as string, '--admin-token-file', world.sidecar.adminTokenFile];
  const command = (...args: string[]) => runHere(['grant', 'end', ...args, ...at]);
  const others = await command('--subject', 'alice', '--except-session', 's-2', '--reason', 'phone lost', '--json');
  assert.deepEqual([others.code, others.out], [0, '{"grants":1,"codes":0,"applied":"all"}'], others.err);
  assert.equal(await world.call(first.access), 401);
  for (const wrong of [[], ['f_x', '--subject', 'alice'], ['f_x', '--reason', 'lost']]) {
    assert.equal((await command(...wrong)).code, 2, wrong.join(' '));
  }
  assert.equal((await command('--session', 's-2', '--except-grant', 'f_x')).code, 5);
  assert.equal(await world.call(second.access), 200);
  const one = await command('--session', 's-2');
  assert.deepEqual([one.code, one.out], [0, 'grants ended: 1, codes dropped: 0'], one.err);
  assert.equal(await world.call(second.access), 401);
});

test('K11: with Redis away sessions end here and durably, and the answer says that other replicas learn of it later', async () => {
  await using redis = await startRedis();
  await using world = await openOAuthWorld({ name: 'rows', redis: { url: { value: redis.url }, timeout: '300ms' } });
  await using other = await world.replica();
  const client = await world.addClient();
  const [whole, each] = [
    await logIn(world, client, { session: 's-1' }),
    await logIn(world, client, { subject: 'bob', session: 's-2' }),
  ];
  for (const one of [whole, each]) assert.equal(await world.call(one.access, other), 200);
  await redis.stop();
  assert.deepEqual(await end(world, { session: 's-1' }), { grants: 1, codes: 0, applied: 'pending' });
  const others = { subject: 'bob', except_session: 'current' };
  assert.deepEqual(await end(world, others), { grants: 1, codes: 0, applied: 'pending' });
  for (const one of [whole, each]) assert.equal(await world.call(one.access), 401);
  await redis.start();
  for (const one of [whole, each]) {
    await eventually(async () => (await world.call(one.access, other)) === 401, 15_000);
    await eventually(async () => (await refreshed(world, client, one)) === 400, 15_000);
  }
});

test('K11: with PostgreSQL away nothing ends and nobody is told that it did; asked again afterwards it is done', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const [one, other] = [await logIn(world, client, { session: 's-1' }), await logIn(world, client, { session: 's-2' })];
  await world.database.cut();
  for (const body of [{ session: 's-1' }, { subject: 'alice' }, { subject: 'alice', except_session: 's-2' }]) {
    assert.equal((await world.admin('POST', '/v1/grants/end', body)).status, 503, JSON.stringify(body));
  }
  for (const each of [one, other]) assert.equal(await world.call(each.access), 200);
  await world.database.mend();
  await eventually(async () => (await world.admin('GET', '/v1/grants')).status === 200, 15_000);
  assert.equal((await end(world, { subject: 'alice', except_session: 's-2' })).grants, 1);
  assert.deepEqual(await alive(world, client, one), DEAD);
  assert.deepEqual(await alive(world, client, other), LIVE);
});
