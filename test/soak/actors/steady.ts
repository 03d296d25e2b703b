// Good requests at a steady rate: small GETs and POSTs on kept connections.
import assert from 'node:assert/strict';
import { type Actor, assertEcho, fieldsOf, poolTo, repeat } from './exchange.ts';

/** About 200 requests a second. */
export const steady: Actor = async (world, stopped) => {
  await using pool = poolTo(world, 16);
  const exchange = (method: 'GET' | 'POST') =>
    world.ledger.attempt(`steady ${method}`, async (seq) => {
      const caller = world.token();
      const body = method === 'POST' ? `body of ${seq} `.repeat(20) : '';
      const headers = fieldsOf(seq, caller.token);
      const answer = await pool.request({ method, path: `/echo/${seq}`, headers, ...(body ? { body } : {}) });
      const text = await answer.body.text();
      assert.equal(answer.statusCode, 200, `${answer.statusCode} ${text.slice(0, 200)}`);
      assert.equal(answer.headers['x-soak-seq'], seq);
      assertEcho(text, seq, caller, method, body);
      return 'once';
    });
  await Promise.all([repeat(stopped, 8, 60, () => exchange('GET')), repeat(stopped, 8, 90, () => exchange('POST'))]);
};
