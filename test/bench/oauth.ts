// How long token operations take, and how long after a revocation was asked for another replica refuses: real PostgreSQL that
// waits for its disk, real Redis, two replicas in this process. `node test/bench/oauth.ts [times]`; asserts nothing.

import { type OAuthReply, openOAuthWorld, REDIRECT } from '../identity/world.ts';
import { startPostgres } from '../support/postgres-server.ts';
import { startRedis } from '../support/redis-server.ts';

const times = Number(process.argv[2] ?? 300);
const WARM_UP = 30;

/** Milliseconds of each of `times` runs of `work`, one after another, after a warm-up. */
async function measure(name: string, work: () => Promise<unknown>): Promise<void> {
  const taken: number[] = [];
  for (let turn = 0; turn < WARM_UP + times; turn += 1) {
    const beganMs = performance.now();
    await work();
    if (turn >= WARM_UP) taken.push(performance.now() - beganMs);
  }
  taken.sort((a, b) => a - b);
  const at = (share: number) =>
    (taken[Math.min(taken.length - 1, Math.floor(share * taken.length))] as number).toFixed(2);
  console.log(`${name.padEnd(44)} p50 ${at(0.5)} ms   p95 ${at(0.95)} ms   p99 ${at(0.99)} ms`);
}

function requireOk(reply: OAuthReply): OAuthReply {
  if (reply.status !== 200) throw new Error(`${reply.status} ${reply.text}`);
  return reply;
}

await using redis = await startRedis();
await using server = await startPostgres(18, { fsync: 'on', full_page_writes: 'on' });
await using world = await openOAuthWorld({ redis: { url: { value: redis.url }, timeout: '1s' } }, server);
const replica = await world.replica();
const client = await world.addClient();
const credentials = { grant_type: 'client_credentials' };
const token = async () => requireOk(await world.as(client, 'token', credentials)).json.access_token as string;

await measure('client_credentials', token);
const held = await token();
await measure('introspection', async () => requireOk(await world.as(client, 'introspect', { token: held })));

const codes: { code: string; verifier: string }[] = [];
for (let turn = 0; turn < WARM_UP + times; turn += 1) codes.push(await world.code(client));
await measure('authorization_code', async () => {
  const { code, verifier } = codes.pop() as (typeof codes)[number];
  const form = { grant_type: 'authorization_code', code, redirect_uri: REDIRECT, code_verifier: verifier };
  requireOk(await world.as(client, 'token', form));
});

let refresh: string = requireOk(await world.login(client)).json.refresh_token;
await measure('refresh_token', async () => {
  const form = { grant_type: 'refresh_token', refresh_token: refresh };
  refresh = requireOk(await world.as(client, 'token', form)).json.refresh_token;
});

const doomed: string[] = [];
for (let turn = 0; turn < WARM_UP + times; turn += 1) {
  const one = await token();
  if ((await world.call(one, replica)) !== 200) throw new Error('not good to begin with');
  doomed.push(one);
}
await measure('revoke, until another replica has refused', async () => {
  const one = doomed.pop() as string;
  requireOk(await world.as(client, 'revoke', { token: one }));
  while ((await world.call(one, replica)) !== 401);
});
