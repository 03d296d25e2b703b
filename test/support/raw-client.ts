// A client that sends exactly the bytes it is given: no clean-up of paths, no header rules, no keep-alive of its own.
import { once } from 'node:events';
import { connect } from 'node:net';

/** A response, parsed leniently. */
export interface RawResponse {
  readonly status: number;
  /** Lower-cased names; of repeated fields the last. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What came back on one connection. */
export interface RawExchange {
  readonly text: string;
  readonly responses: readonly RawResponse[];
  /** The server closed before we did. */
  readonly closed: boolean;
}

/** Sends `bytes` (latin1), waits until `responses` answers are there, the server closes, or `timeoutMs` is over. */
export async function sendRaw(
  port: number,
  bytes: string | readonly string[],
  options: { responses?: number; timeoutMs?: number } = {},
): Promise<RawExchange> {
  const wanted = options.responses ?? 1;
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  socket.on('error', () => {});
  await once(socket, 'connect');
  let text = '';
  let closed = false;
  const finished = new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, options.timeoutMs ?? 2000);
    const done = () => {
      clearTimeout(timer);
      resolve();
    };
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      if (parseResponses(text).filter(({ status }) => status >= 200).length >= wanted) done();
    });
    socket.on('close', () => {
      closed = true;
      done();
    });
  });
  for (const part of typeof bytes === 'string' ? [bytes] : bytes) {
    socket.write(Buffer.from(part, 'latin1'));
    if (typeof bytes !== 'string') await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await finished;
  // A refusal closes right after its answer: give the FIN one turn of the loop to arrive.
  if (!closed)
    await Promise.race([
      new Promise((resolve) => socket.once('close', resolve)),
      new Promise((resolve) => setTimeout(resolve, 30)),
    ]);
  socket.destroy();
  return { text, responses: parseResponses(text), closed };
}

/** Splits the bytes of a connection into complete responses. */
export function parseResponses(text: string): readonly RawResponse[] {
  const responses: RawResponse[] = [];
  let rest = text;
  for (;;) {
    const end = rest.indexOf('\r\n\r\n');
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(rest)?.[1];
    if (end < 0 || status === undefined) return responses;
    const headers: Record<string, string> = {};
    for (const line of rest.slice(0, end).split('\r\n').slice(1)) {
      const colon = line.indexOf(':');
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    const body = readBody(rest.slice(end + 4), Number(status), headers);
    if (body === undefined) return responses;
    responses.push({ status: Number(status), headers, body: body.text });
    rest = rest.slice(end + 4 + body.length);
  }
}

function readBody(rest: string, status: number, headers: Record<string, string>) {
  if (status < 200 || status === 204 || status === 304) return { text: '', length: 0 };
  if (headers['transfer-encoding'] === 'chunked') return readChunks(rest);
  const length = Number(headers['content-length'] ?? rest.length);
  return rest.length < length ? undefined : { text: rest.slice(0, length), length };
}

function readChunks(rest: string): { text: string; length: number } | undefined {
  let at = 0;
  let text = '';
  for (;;) {
    const line = rest.indexOf('\r\n', at);
    if (line < 0) return undefined;
    const size = Number.parseInt(rest.slice(at, line), 16);
    if (rest.length < line + 2 + size + 2) return undefined;
    text += rest.slice(line + 2, line + 2 + size);
    at = line + 2 + size + 2;
    if (size === 0) return { text, length: at };
  }
}
