// One request as bytes, and the bytes that came back until the connection closed.
import { once } from 'node:events';
import { createConnection } from 'node:net';

/** Sends `bytes` to the port on loopback; resolves with everything answered, also when the other side resets afterwards. */
export async function rawRequest(port: number, bytes: string): Promise<string> {
  const socket = createConnection(port, '127.0.0.1');
  let reply = '';
  socket.setEncoding('latin1');
  socket.on('data', (chunk) => {
    reply += chunk;
  });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.write(bytes, 'latin1');
  const timer = setTimeout(() => socket.destroy(), 3000);
  await once(socket, 'close');
  clearTimeout(timer);
  return reply;
}
