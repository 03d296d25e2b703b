// Tokens that are issued, used, revoked and used again; and event streams that have to end when their token is revoked.
import assert from 'node:assert/strict';
import type { World } from '../world.ts';
import { type Actor, fieldsOf, poolTo, repeat } from './exchange.ts';

const KEEP = 50;

/** Revoked tokens stay refused, those of a while ago included, whatever happens to Redis. */
export const revocations: Actor = async (world, stopped) => {
  await using pool = poolTo(world, 4);
  const revoked: string[] = [];
  const use = (kind: string, token: string, wanted: number) =>
    world.ledger.attempt(kind, async (seq) => {
      const answer = await pool.request({ method: 'GET', path: '/echo', headers: fieldsOf(seq, token) });
      await answer.body.dump();
      assert.equal(answer.statusCode, wanted);
      return wanted === 200 ? 'once' : 'never';
    });
  await repeat(stopped, 2, 250, async () => {
    const token = await issue(world);
    await use('token before revoking', token, 200);
    await revoke(world, token);
    await use('token after revoking', token, 401);
    revoked.push(token);
    if (revoked.length > KEEP) revoked.shift();
    await use('token revoked earlier', revoked[Math.floor(Math.random() * revoked.length)] as string, 401);
  });
};

/** A stream ends within two seconds of the revocation of its token, and never cleanly. */
export const revokedStreams: Actor = async (world, stopped) => {
  await using pool = poolTo(world, 4);
  await repeat(stopped, 1, 3000, () =>
    world.ledger.attempt('stream cut by revoking', async (seq) => {
      const token = await issue(world);
      const answer = await pool.request({ method: 'GET', path: '/events/400', headers: fieldsOf(seq, token) });
      assert.equal(answer.statusCode, 200);
      let revokedAtMs = Number.NaN;
      const end = await (async () => {
        try {
          for await (const _ of answer.body) {
            if (Number.isNaN(revokedAtMs)) {
              revokedAtMs = performance.now();
              void revoke(world, token);
            }
          }
          return 'clean';
        } catch {
          return 'cut';
        }
      })();
      const tookMs = performance.now() - revokedAtMs;
      assert.ok(tookMs < 5000, `the stream went on for ${Math.round(tookMs / 1000)} s`);
      assert.equal(end, 'cut', 'the stream of a revoked token ended as if it were whole');
      return 'once';
    }),
  );
};

async function issue(world: World): Promise<string> {
  const { status, body } = await world.admin('POST', '/v1/tokens', { subject: 'leaver', client: 'revoked-app' });
  assert.equal(status, 201);
  return body.token as string;
}

async function revoke(world: World, token: string): Promise<void> {
  await world.ledger.attempt('revoke', async () => {
    const { status } = await world.admin('POST', '/v1/revocations', { token });
    assert.equal(status, 201);
    return 'never';
  });
}
