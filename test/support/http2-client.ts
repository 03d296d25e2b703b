// HTTP/2 clients for tests: whole requests through node's client, and frames byte by byte for what no client would send.
import { once } from 'node:events';
import { type ClientHttp2Session, connect, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2';
import { connect as connectPlain, type Socket } from 'node:net';

/** A whole answer. */
export interface Http2Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly trailers: IncomingHttpHeaders;
}

/** A session that ends with the test and never throws by itself. */
export async function openHttp2(
  url: string,
  options: Parameters<typeof connect>[1] = {},
): Promise<ClientHttp2Session & AsyncDisposable> {
  const session = connect(url, options);
  session.on('error', () => {});
  await Promise.race([once(session, 'connect'), once(session, 'close')]);
  return Object.assign(session, {
    [Symbol.asyncDispose]: async () => session.destroy(),
  });
}

/** Sends one request; the number of the reset where it ended without an answer. */
export async function askHttp2(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  body?: string | Buffer,
): Promise<Http2Answer | { readonly reset: number }> {
  const stream = session.request(headers, { endStream: body === undefined });
  const chunks: Buffer[] = [];
  let answered: IncomingHttpHeaders | undefined;
  let trailers: IncomingHttpHeaders = {};
  stream.on('error', () => {});
  stream.on('response', (given) => {
    answered = given;
  });
  stream.on('trailers', (given) => {
    trailers = given;
  });
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  const closed = new Promise<void>((resolve) => stream.once('close', resolve));
  if (body !== undefined) stream.end(body);
  await closed;
  if (answered === undefined) return { reset: stream.rstCode ?? -1 };
  return { status: Number(answered[':status']), headers: answered, body: Buffer.concat(chunks).toString(), trailers };
}

/** Types of frames (RFC 9113 section 6). */
export const frameTypes = { data: 0, headers: 1, rst: 3, settings: 4, ping: 6, goaway: 7, continuation: 9 } as const;

/** A frame as it came. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** Bytes of a frame. */
export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header block without compression or table: literal fields, names and values as given. */
export function headerBlock(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), literal(name), literal(value)]));
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const length = [127];
  let rest = bytes.length - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) length.push((rest % 128) + 128);
  return Buffer.concat([Buffer.from([...length, rest]), bytes]);
}

/** Pseudo-fields of a plain GET. */
export const getFields = (path: string, authority = 'app.test'): readonly (readonly [string, string])[] => [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', path],
  [':authority', authority],
];

/** A connection on which frames are written as they are. */
export class FrameClient implements AsyncDisposable {
  readonly socket: Socket;
  readonly frames: Frame[] = [];
  closed = false;
  #rest = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
    });
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
  }

  /** Connects and sends nothing; `allowHalfOpen` stays when the server has ended. */
  static async raw(port: number, allowHalfOpen = false): Promise<FrameClient> {
    const socket = connectPlain({ port, host: '127.0.0.1', allowHalfOpen, noDelay: true });
    await once(socket, 'connect');
    return new FrameClient(socket);
  }

  /** Connects and sends the preface with empty settings. */
  static async open(port: number, allowHalfOpen = false): Promise<FrameClient> {
    const client = await FrameClient.raw(port, allowHalfOpen);
    client.socket.write(
      Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(frameTypes.settings, 0, 0)]),
    );
    return client;
  }

  /** HEADERS with END_HEADERS. */
  headers(stream: number, fields: readonly (readonly [string, string])[], endStream = true): void {
    this.socket.write(frame(frameTypes.headers, 4 | Number(endStream), stream, headerBlock(fields)));
  }

  /** Waits for bytes or the end of the connection, at most `ms`. */
  async heard(ms: number): Promise<void> {
    if (this.closed) return;
    const gaveUp = new AbortController();
    const { signal } = gaveUp;
    const timer = setTimeout(() => gaveUp.abort(), ms);
    await Promise.race([once(this.socket, 'data', { signal }), once(this.socket, 'close', { signal })]).catch(() => {});
    clearTimeout(timer);
    gaveUp.abort();
  }

  /** Whether a frame of `type` has come on `stream`. */
  has(type: number, stream: number): boolean {
    return this.frames.some((each) => each.type === type && each.stream === stream);
  }

  /** Error code of the GOAWAY, or of the RST_STREAM of a stream. */
  code(stream: number): number | undefined {
    const found = this.frames.findLast(
      (each) => each.type === (stream === 0 ? frameTypes.goaway : frameTypes.rst) && each.stream === stream,
    );
    return found?.payload.readUInt32BE(stream === 0 ? 4 : 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy();
  }

  #take(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 9) {
      const length = this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < 9 + length) return;
      const [type, flags] = [this.#rest[3] as number, this.#rest[4] as number];
      this.frames.push({
        type,
        flags,
        stream: this.#rest.readUInt32BE(5),
        payload: this.#rest.subarray(9, 9 + length),
      });
      this.#rest = this.#rest.subarray(9 + length);
    }
  }
}
