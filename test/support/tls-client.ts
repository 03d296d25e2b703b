// TLS clients for tests: raw bytes over TLS, and what a handshake came to.
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { parseResponses, type RawResponse } from './raw-client.ts';

/** Shakes hands; rejects when the server refuses. A TLS 1.3 server may refuse after this: see {@link askTls}. */
export async function connectTls(port: number, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port, ...options });
  await once(socket, 'secureConnect');
  socket.on('error', () => {});
  return socket;
}

/** Sends `bytes` on an open connection and waits for `wanted` whole answers, or for the end. */
export async function askOn(socket: Socket, bytes: string, wanted = 1): Promise<readonly RawResponse[]> {
  let text = '';
  return await new Promise((resolve, reject) => {
    const done = (answers: readonly RawResponse[]) => {
      clearTimeout(timer);
      socket.off('data', onData);
      socket.off('close', onClose);
      resolve(answers);
    };
    const timer = setTimeout(() => reject(new Error(`no answer within 20 s: ${text}`)), 20_000);
    const onData = (chunk: Buffer) => {
      text += chunk.toString('latin1');
      const answers = parseResponses(text);
      if (answers.length >= wanted) done(answers);
    };
    const onClose = () => done(parseResponses(text));
    socket.on('data', onData);
    socket.on('close', onClose);
    socket.write(bytes, 'latin1');
  });
}

/** One request on a connection of its own; `refused` when the server ended it without an answer. */
export async function askTls(
  port: number,
  options: ConnectionOptions,
  bytes: string,
): Promise<RawResponse | 'refused'> {
  let socket: TLSSocket;
  try {
    socket = await connectTls(port, options);
  } catch {
    return 'refused';
  }
  const [answer] = await askOn(socket, bytes);
  socket.destroy();
  return answer ?? 'refused';
}
