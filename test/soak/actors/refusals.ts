// Requests that must be refused: bad tokens of several kinds, and what goes over a limit. None may reach the upstream.
import assert from 'node:assert/strict';
import { mintKey } from '../../support/minting.ts';
import { LIMITED_PER_SECOND } from '../configurations.ts';
import { type Actor, fieldsOf, poolTo, repeat } from './exchange.ts';

/** Bad tokens: 401, every one another. */
export const badTokens: Actor = async (world, stopped) => {
  await using pool = poolTo(world, 4);
  const stranger = mintKey('ES256', 'soak');
  const makers = [
    () => world.mint({}, stranger),
    () => world.mint({ aud: 'else' }),
    () => world.mint({ iss: 'https://nobody.test/' }),
    () => world.mint({ iat: 1_000_000, exp: 1_000_060 }),
    () => `${Math.random()}.not.jws`,
  ];
  let turn = 0;
  await repeat(stopped, 2, 100, () =>
    world.ledger.attempt('bad token', async (seq) => {
      const token = (makers[turn++ % makers.length] as () => string)();
      const answer = await pool.request({ method: 'GET', path: '/echo', headers: fieldsOf(seq, token) });
      await answer.body.dump();
      assert.equal(answer.statusCode, 401);
      return 'never';
    }),
  );
};

/** Four times what a client may: 200 or 429, never more of the first in a second than two windows can give. */
export const overLimit: Actor = async (world, stopped) => {
  await using pool = poolTo(world, 8);
  await repeat(stopped, 1, 900, async () => {
    const token = world.mint({ client_id: 'greedy' });
    let accepted = 0;
    const one = () =>
      world.ledger.attempt('over the limit', async (seq) => {
        const answer = await pool.request({ method: 'GET', path: '/limited', headers: fieldsOf(seq, token) });
        await answer.body.dump();
        assert.ok([200, 429].includes(answer.statusCode), `${answer.statusCode}`);
        if (answer.statusCode === 200) accepted += 1;
        return answer.statusCode === 200 ? 'once' : 'never';
      });
    await Promise.all(Array.from({ length: 4 * LIMITED_PER_SECOND }, one));
    if (accepted > 2 * LIMITED_PER_SECOND) world.ledger.problem('over the limit', `${accepted} accepted in one burst`);
  });
};
