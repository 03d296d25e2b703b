// Clients that go away: in the middle of a response, of an upload, of a head. Written on raw sockets, because a client
// library would tidy up.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Reach } from '../ledger.ts';
import type { World } from '../world.ts';
import { type Actor, fieldsOf, repeat } from './exchange.ts';

/** Three ways of going away, some with a reset instead of an end. */
export const aborts: Actor = async (world, stopped) => {
  const reset = (socket: Socket) => (Math.random() < 0.5 ? socket.resetAndDestroy() : socket.destroy());
  const duringResponse = () =>
    gone(world, 'aborted download', async (socket, seq) => {
      socket.write(headOf('GET', '/drip/1000/20', fieldsOf(seq, world.token().token)));
      const [first] = (await once(socket, 'data')) as [Buffer];
      assert.match(first.toString('latin1'), /^HTTP\/1\.1 200 /);
      if (Math.random() < 0.5) await once(socket, 'data');
      reset(socket);
      return 'once';
    });
  const duringUpload = () =>
    gone(world, 'aborted upload', async (socket, seq) => {
      const fields = { ...fieldsOf(seq, world.token().token), 'content-length': '5000000' };
      socket.write(headOf('POST', '/echo', fields));
      for (let part = 0; part < 4; part += 1) await written(socket, Buffer.alloc(32 * 1024, part));
      reset(socket);
      return 'at most once';
    });
  const duringHead = () =>
    gone(world, 'aborted head', async (socket, seq) => {
      await written(socket, headOf('GET', '/echo', fieldsOf(seq, world.token().token)).slice(0, 40));
      reset(socket);
      return 'never';
    });
  await Promise.all([
    repeat(stopped, 3, 200, duringResponse),
    repeat(stopped, 3, 300, duringUpload),
    repeat(stopped, 1, 300, duringHead),
  ]);
};

async function gone(world: World, kind: string, act: (socket: Socket, seq: string) => Promise<Reach>): Promise<void> {
  await world.ledger.attempt(kind, async (seq) => {
    const { hostname, port } = new URL(world.sidecar.addresses.proxy);
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    try {
      await once(socket, 'connect');
      return await act(socket, seq);
    } finally {
      socket.on('error', () => {}).destroy();
    }
  });
}

function written(socket: Socket, bytes: Buffer | string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.write(bytes, (error) => (error ? reject(error) : resolve()));
  return promise;
}

/** A request head as bytes. */
export function headOf(method: string, path: string, fields: Readonly<Record<string, string>>): string {
  const lines = Object.entries({ host: 'soak.test', ...fields }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
}
