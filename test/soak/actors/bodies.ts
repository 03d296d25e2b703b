// Large bodies both ways, and slow clients that trickle their request or read their response in sips. All of them have to
// come through whole.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { blobDigest } from '../upstream.ts';
import { type Actor, assertEcho, fieldsOf, poolTo, repeat } from './exchange.ts';

const LARGE = 12 * 1024 * 1024;
const SLOW = 512 * 1024;

/** 12 MiB up, with length and chunked in turn, and 12 MiB down. */
export const largeBodies: Actor = async (world, stopped) => {
  await using pool = poolTo(world, 3);
  const body = randomBytes(LARGE);
  let chunked = false;
  const up = () =>
    world.ledger.attempt('12 MiB up', async (seq) => {
      const caller = world.token();
      chunked = !chunked;
      const sent = chunked ? Readable.from(inParts(body, 256 * 1024)) : body;
      const headers = fieldsOf(seq, caller.token);
      const answer = await pool.request({ method: 'POST', path: '/echo', headers, body: sent });
      const text = await answer.body.text();
      assert.equal(answer.statusCode, 200, `${answer.statusCode} ${text.slice(0, 200)}`);
      assertEcho(text, seq, caller, 'POST', body);
      return 'once';
    });
  const down = () =>
    world.ledger.attempt('12 MiB down', async (seq) => {
      const headers = fieldsOf(seq, world.token().token);
      const answer = await pool.request({ method: 'GET', path: `/blob/${LARGE}`, headers });
      assert.equal(answer.statusCode, 200);
      const hash = createHash('sha256');
      for await (const chunk of answer.body) hash.update(chunk as Buffer);
      assert.equal(hash.digest('hex'), blobDigest(seq, LARGE), 'the body is another');
      return 'once';
    });
  await Promise.all([repeat(stopped, 1, 1500, up), repeat(stopped, 1, 1500, down)]);
};

/** Bodies in drops over some seconds. */
export const slowClients: Actor = async (world, stopped) => {
  await using pool = poolTo(world, 16);
  const up = () =>
    world.ledger.attempt('trickled up', async (seq) => {
      const caller = world.token();
      const body = randomBytes(60);
      async function* drops() {
        for (const byte of inParts(body, 2)) {
          yield byte;
          await delay(50);
        }
      }
      const headers = fieldsOf(seq, caller.token);
      const answer = await pool.request({ method: 'POST', path: '/echo', headers, body: Readable.from(drops()) });
      assert.equal(answer.statusCode, 200);
      assertEcho(await answer.body.text(), seq, caller, 'POST', body);
      return 'once';
    });
  const down = () =>
    world.ledger.attempt('sipped down', async (seq) => {
      const headers = fieldsOf(seq, world.token().token);
      const answer = await pool.request({ method: 'GET', path: `/blob/${SLOW}`, headers });
      assert.equal(answer.statusCode, 200);
      const hash = createHash('sha256');
      for await (const chunk of answer.body) {
        hash.update(chunk as Buffer);
        await delay(200);
      }
      assert.equal(hash.digest('hex'), blobDigest(seq, SLOW), 'the body is another');
      return 'once';
    });
  await Promise.all([repeat(stopped, 6, 100, up), repeat(stopped, 6, 100, down)]);
};

function* inParts(bytes: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
