// Bytes of an attack onto a connection, and what came back: no clean-up of paths, no rules about fields, no keep-alive of its own.
import { connect as connectPlain } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** Where shots go. */
export interface Door {
  readonly host: string;
  readonly port: number;
  /** TLS with this server name; `ca` undefined trusts whatever is shown (a throw-away instance of our own). */
  readonly tls?: { readonly serverName: string; readonly ca: string | undefined; readonly verify: boolean } | undefined;
}

/** What came back on one connection. */
export interface Echo {
  /** Final statuses in order; empty when the connection ended without an answer. */
  readonly statuses: readonly number[];
  /** Content type of the first final answer. */
  readonly type: string;
  /** Seconds of Retry-After of the first final answer; 0 without. */
  readonly retryAfter: number;
}

/** Sends latin1 bytes and resolves when an answer is whole, the other side closes, or `timeoutMs` is over. Rejects when it cannot connect. */
export function shoot(door: Door, bytes: string, timeoutMs: number): Promise<Echo> {
  const { promise, resolve, reject } = Promise.withResolvers<Echo>();
  const { host, port, tls } = door;
  const socket =
    tls === undefined
      ? connectPlain({ host, port, noDelay: true })
      : connectTls({
          ...{ host, port, servername: tls.serverName, rejectUnauthorized: tls.verify },
          ...(tls.ca !== undefined && { ca: tls.ca }),
        });
  let text = '';
  let isOpen = false;
  const end = () => {
    clearTimeout(timer);
    socket.destroy();
    resolve(echoOf(text));
  };
  const timer = setTimeout(() => (isOpen ? end() : reject(new Error(`${host}:${port} does not answer`))), timeoutMs);
  socket.once(tls === undefined ? 'connect' : 'secureConnect', () => {
    isOpen = true;
    socket.write(Buffer.from(bytes, 'latin1'));
  });
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    if (isWhole(text)) end();
  });
  socket.on('close', end);
  socket.on('error', (error) => {
    if (isOpen) return end();
    clearTimeout(timer);
    reject(error);
  });
  return promise;
}

const FINAL = /HTTP\/1\.[01] ([2-5]\d\d)[ \r][\s\S]*?\r\n\r\n/g;

function echoOf(text: string): Echo {
  const answers = [...text.matchAll(FINAL)];
  const upgraded = /HTTP\/1\.[01] 101[ \r]/.test(text) ? [101] : [];
  const type = /\r\ncontent-type: *([^\r;]*)/i.exec(answers[0]?.[0] ?? '')?.[1] ?? '';
  const retryAfter = Number(/\r\nretry-after: *(\d+)/i.exec(answers[0]?.[0] ?? '')?.[1] ?? 0);
  return { statuses: [...upgraded, ...answers.map(([, status]) => Number(status))], type, retryAfter };
}

/** True once one final answer with a stated length is there and the connection will not end by itself. */
function isWhole(text: string): boolean {
  const [head] = text.match(FINAL) ?? [];
  if (head === undefined || /\r\nconnection: *close/i.test(head)) return false;
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  const rest = text.slice(text.indexOf(head) + head.length);
  return length === undefined ? rest.endsWith('0\r\n\r\n') : rest.length >= Number(length);
}
