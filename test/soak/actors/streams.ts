// WebSockets opened, used and closed or dropped, and event streams read to their end or left.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { type CloseEvent, type MessageEvent, WebSocket } from 'undici';
import type { World } from '../world.ts';
import { headOf } from './aborts.ts';
import { type Actor, fieldsOf, poolTo, repeat } from './exchange.ts';

const MESSAGES = 10;

/** Sockets that are closed in order, and sockets whose client vanishes. */
export const webSockets: Actor = async (world, stopped) => {
  await Promise.all([
    repeat(stopped, 4, 250, () => closedSocket(world)),
    repeat(stopped, 4, 250, () => droppedSocket(world)),
  ]);
};

function closedSocket(world: World): Promise<void> {
  return world.ledger.attempt('WebSocket closed', async (seq) => {
    const url = world.sidecar.addresses.proxy.replace('http', 'ws');
    const socket = new WebSocket(`${url}/ws`, { headers: fieldsOf(seq, world.token().token) });
    const closed = Promise.withResolvers<CloseEvent>();
    const messages: unknown[] = [];
    socket.onopen = () => socket.send(`${seq}:0`);
    socket.onerror = () => closed.reject(new Error('the socket failed'));
    socket.onclose = (event) => closed.resolve(event);
    socket.onmessage = ({ data }: MessageEvent) => {
      messages.push(data);
      if (messages.length < MESSAGES) socket.send(`${seq}:${messages.length}`);
      else socket.close(1000);
    };
    const { code } = await closed.promise;
    assert.equal(code, 1000);
    assert.deepEqual(
      messages,
      Array.from({ length: MESSAGES }, (_, at) => `${seq}:${at}`),
    );
    return 'at most once';
  });
}

function droppedSocket(world: World): Promise<void> {
  return world.ledger.attempt('WebSocket dropped', async (seq) => {
    const { hostname, port } = new URL(world.sidecar.addresses.proxy);
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    socket.on('error', () => {});
    await once(socket, 'connect');
    const upgrade = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13' };
    const key = { 'sec-websocket-key': Buffer.alloc(16, seq).toString('base64') };
    socket.write(headOf('GET', '/ws', { ...fieldsOf(seq, world.token().token), ...upgrade, ...key }));
    const [head] = (await once(socket, 'data')) as [Buffer];
    assert.match(head.toString('latin1'), /^HTTP\/1\.1 101 /);
    // Half of a frame, so that whoever waits for the rest waits for nothing.
    socket.write(Buffer.from([0x81, 0xff, 0, 0, 0]));
    if (Math.random() < 0.5) socket.resetAndDestroy();
    else socket.destroy();
    return 'at most once';
  });
}

/** Streams of 20 events: every second one is left after five. */
export const eventStreams: Actor = async (world, stopped) => {
  await using pool = poolTo(world, 12);
  let leaves = false;
  await repeat(stopped, 6, 200, () => {
    leaves = !leaves;
    const left = leaves;
    return world.ledger.attempt(left ? 'event stream left' : 'event stream', async (seq) => {
      const gone = new AbortController();
      const headers = fieldsOf(seq, world.token().token);
      const answer = await pool.request({ method: 'GET', path: '/events/20', headers, signal: gone.signal });
      assert.equal(answer.statusCode, 200);
      let text = '';
      try {
        for await (const chunk of answer.body) {
          text += chunk;
          if (left && text.split('\n\n').length > 5) gone.abort();
        }
      } catch (error) {
        if (!gone.signal.aborted) throw error;
      }
      const events = text.split('\n\n').slice(0, -1);
      assert.ok(left || events.length === 20, `${events.length} of 20 events`);
      for (const [at, event] of events.entries()) assert.equal(event, `id: ${at}\ndata: ${seq}`);
      return 'once';
    });
  });
};
