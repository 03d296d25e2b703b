// One stream through a sidecar, as its caller sees it: an event stream or a WebSocket, opened, listened to, and how it ended.
import { randomBytes } from 'node:crypto';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import type { Socket } from 'node:net';
import { type Answer, codeOf, HANG_MS } from './replica.ts';

/** The last piece of the path says which. */
export const kinds = ['events', 'socket'] as const;
export type StreamKind = (typeof kinds)[number];

/** How a stream ended: cut in the midst, in good order (of an event stream), or by a close frame with its code. */
export type Ending = 'cut' | 'whole' | number;

/** How to ask for one. */
export interface StreamRequest {
  readonly port: number;
  readonly path: string;
  readonly token: string;
  readonly kind: StreamKind;
  /** What the application has to say again and again. */
  readonly seq: string;
}

/** How long a caller that has said goodbye waits for the answer. */
const GRACE_MS = 1000;

const CLOSE = 8;
const TEXT = 1;

/** A stream that was let in. */
export class OpenStream {
  /** In ms of performance.now(). */
  heardMs = performance.now();
  /** Something that the application of this stream did not say. */
  strange: string | undefined;
  ended: { readonly how: Ending; readonly atMs: number } | undefined;
  readonly #asked: StreamRequest;
  readonly #close: () => void;
  #rest = Buffer.alloc(0);
  #code: number | undefined;

  constructor(asked: StreamRequest, close: () => void) {
    this.#asked = asked;
    this.#close = close;
  }

  /** Bytes of the application, or a close frame of the sidecar. */
  hear(bytes: Buffer): void {
    this.heardMs = performance.now();
    this.#rest = Buffer.concat([this.#rest, bytes]);
    if (this.#asked.kind === 'events') this.#readEvents();
    else this.#readFrames();
  }

  /** The connection is gone; `isWhole` when the answer said that it was all. */
  end(isWhole: boolean): void {
    this.ended ??= { how: this.#code ?? (isWhole ? 'whole' : 'cut'), atMs: performance.now() };
  }

  /** The caller has had enough. */
  close(): void {
    this.#close();
  }

  #readEvents(): void {
    const lines = this.#rest.toString('latin1').split('\n\n');
    this.#rest = Buffer.from(lines.pop() as string, 'latin1');
    for (const line of lines) if (line !== `data: ${this.#asked.seq}`) this.strange ??= line;
  }

  /** The application's frames are short and unmasked, and so is a close frame. */
  #readFrames(): void {
    for (;;) {
      const [first = 0, length = 0] = this.#rest;
      if (this.#rest.length < 2 || this.#rest.length < 2 + length) return;
      const payload = this.#rest.subarray(2, 2 + length);
      this.#rest = this.#rest.subarray(2 + length);
      const opcode = first & 0x0f;
      if (opcode === CLOSE) this.#code = length < 2 ? 1005 : payload.readUInt16BE(0);
      else if (opcode !== TEXT || payload.toString() !== this.#asked.seq) this.strange ??= payload.toString('latin1');
    }
  }
}

const handshake = () => ({
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': randomBytes(16).toString('base64'),
});

/** Asks for a stream: the answer (200 stands for 101 too, with the number as its text), and the stream when it was let in. */
export function openStream(asked: StreamRequest): Promise<{ answer: Answer; stream?: OpenStream }> {
  const { port, path, token, kind, seq } = asked;
  const headers = { authorization: `Bearer ${token}`, 'x-chaos-seq': seq, ...(kind === 'socket' ? handshake() : {}) };
  const asking = request({ host: '127.0.0.1', port, path: `${path}/${kind}`, headers, agent: false });
  const { promise, resolve } = Promise.withResolvers<{ answer: Answer; stream?: OpenStream }>();
  const failed = (text: string, code: string) => resolve({ answer: { status: 0, text, code } });
  const letIn = (stream: OpenStream) => {
    asking.setTimeout(0);
    resolve({ answer: { status: 200, text: seq, code: 'ok' }, stream });
  };
  asking.setTimeout(HANG_MS, () => asking.destroy(new Error(`no answer within ${HANG_MS} ms`)));
  asking.on('error', (error: NodeJS.ErrnoException) => failed(String(error), error.code ?? 'error'));
  asking.on('upgrade', (_, socket: Socket, head: Buffer) => letIn(socketStream(asked, socket, head)));
  asking.on('response', (answer) => {
    if (answer.statusCode === 200 && kind === 'events') letIn(eventStream(asked, asking, answer));
    else refusal(answer).then(resolve);
  });
  asking.end();
  return promise;
}

function eventStream(asked: StreamRequest, asking: ClientRequest, answer: IncomingMessage): OpenStream {
  const stream = new OpenStream(asked, () => asking.destroy());
  answer.on('data', (bytes: Buffer) => stream.hear(bytes));
  answer.on('error', () => undefined);
  answer.on('close', () => stream.end(answer.complete));
  return stream;
}

function socketStream(asked: StreamRequest, socket: Socket, head: Buffer): OpenStream {
  // A masked close frame without a code, as callers send it (RFC 6455 section 5.3).
  const stream = new OpenStream(asked, () => {
    socket.end(Buffer.from([0x88, 0x80, 1, 2, 3, 4]));
    setTimeout(() => socket.destroy(), GRACE_MS).unref();
  });
  socket.on('error', () => undefined);
  socket.on('data', (bytes: Buffer) => stream.hear(bytes));
  socket.on('end', () => socket.end());
  socket.on('close', () => stream.end(false));
  if (head.length > 0) stream.hear(head);
  return stream;
}

async function refusal(answer: IncomingMessage): Promise<{ answer: Answer }> {
  const { statusCode: status = 0 } = answer;
  try {
    const text = (await answer.toArray()).join('');
    return { answer: { status, text, code: codeOf(status, text) } };
  } catch (error) {
    return { answer: { status: 0, text: String(error), code: `cut_${status}` } };
  }
}
