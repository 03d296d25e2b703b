// An upstream of bare sockets that reads by the reference reading and writes down every whole request. Its answers name the
// request they belong to, and come in every framing there is, so that an answer in the wrong place is seen.
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { type ReadRequest, readRequests, valuesOf } from './reading.ts';

/** A request as an upstream understood it. */
export interface Seen {
  /** Our X-Request-Id. */
  readonly id: string;
  /** X-Tag: which generated request it is. */
  readonly tag: string;
  readonly method: string;
  /** The target as it reached the upstream. */
  readonly target: string;
  /** The path that the upstream acts on, after whatever it does to paths. */
  readonly path: string;
  readonly host: string;
  /** Undefined where the upstream does not tell. */
  readonly body: string | undefined;
  /** Fields that lenient servers would take for ours, names folded. */
  readonly identity: readonly string[];
}

/** An upstream that tells what it saw. */
export interface Upstream extends AsyncDisposable {
  readonly name: string;
  readonly url: string;
  /** Spoken there; HTTP/1.1 where nothing is said. */
  readonly protocol?: 'http1' | 'http2';
  readonly seen: readonly Seen[];
  /** Bytes that were no HTTP/1.1. */
  readonly broken: readonly string[];
  /** It answers every request that it is sent, so what we sent and what it saw are the same number. */
  readonly answersAll: boolean;
  /** It knows no chunked bodies and answers before they have come. */
  readonly answersEarly?: boolean;
}

/** The identity headers of a request, folded as lenient servers fold names. */
export function identityOf(fields: ReadRequest['fields']): readonly string[] {
  const folded = fields.map(([name, value]) => [name.toLowerCase().replace(/[_.]/g, '-'), value] as const);
  return folded
    .filter(([name]) => name.startsWith('x-auth-'))
    .map(([name, value]) => `${name}: ${value}`)
    .sort();
}

/** The one value of a field; `none` without it, all values when there are several. */
export const fieldOf = (request: Pick<ReadRequest, 'fields'>, name: string) =>
  valuesOf(request, name).join(' and ') || 'none';

/** What an answer says about its request. */
export const echoOf = (id: string, tag: string, method: string) => `${id} ${tag} ${method}`;

/** Starts a recorder. With `see`, which tells what the proxy before it was sent, it says no 103: nginx 1.22 takes that for the answer. */
export async function startRecorder(
  name: string,
  see?: (request: ReadRequest) => Partial<Seen>,
): Promise<Upstream & { readonly port: number }> {
  const seen: Seen[] = [];
  const broken: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      const { requests, rest } = readRequests(text);
      for (const request of requests) {
        const [id, tag] = [fieldOf(request, 'x-request-id'), fieldOf(request, 'x-tag')];
        const { method, target, body, fields } = request;
        const plain = { id, tag, method, target, path: target.replace(/\?.*$/s, ''), body };
        seen.push({ ...plain, host: fieldOf(request, 'host'), identity: identityOf(fields), ...see?.(request) });
        answer(socket, seen.length % (see === undefined ? 5 : 4), echoOf(id, tag, method), method);
      }
      text = text.slice(requests.at(-1)?.end ?? 0);
      if (rest === 'broken') broken.push(text);
      if (rest === 'broken') socket.destroy();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    name,
    port,
    url: `http://127.0.0.1:${port}`,
    seen,
    broken,
    answersAll: true,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

function answer(socket: Socket, given: number, echo: string, method: string): void {
  const head = `HTTP/1.1 200 OK\r\nX-Echo: ${echo}\r\nContent-Type: text/plain\r\n`;
  const body = method === 'HEAD' ? '' : echo;
  const whole = `${head}Content-Length: ${echo.length}\r\n\r\n${body}`;
  const kind = method === 'HEAD' ? 0 : given;
  if (kind === 0) socket.write(whole);
  else if (kind === 1) {
    const at = echo.length % 40;
    socket.write(whole.slice(0, at));
    setImmediate(() => socket.write(whole.slice(at)));
  } else if (kind === 2) {
    const size = body.length.toString(16);
    socket.write(`${head}Transfer-Encoding: chunked\r\n\r\n${size};x=y\r\n${body}\r\n`);
    setImmediate(() => socket.write('0\r\nX-Trailer: late\r\n\r\n'));
  } else if (kind === 3) socket.end(`${head}Connection: close\r\n\r\n${body}`);
  else socket.write(`HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n${whole}`);
}
