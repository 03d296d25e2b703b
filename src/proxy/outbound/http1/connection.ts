// One connection to an upstream: sends a request, reads its answer, and is then free for the next (RFC 9112 section 9.3). One
// request at a time, never pipelined: an answer can only belong to the request that is out. Which connection a request gets
// is connections.ts's; what becomes of an answer is forward.ts's.
import type { Socket } from 'node:net';
import type { Reason } from '../../../core/reasons.ts';
import { BROKEN, ChunkedBody, MORE } from './chunked.ts';
import { mayBecomeHead, type ResponseHead, readResponseHead } from './response-head.ts';

/** Why there is no (whole) answer. */
export interface UpstreamFailure {
  readonly reason: Reason;
  /**
   * True when the connection had been idle before and ended without a byte for this request: the upstream closed it while
   * it was idle, and cannot have seen the request.
   */
  readonly unanswered: boolean;
  /** True when there never was a connection, so that nothing has been sent, whatever the request is. */
  readonly unsent: boolean;
  /** True when it was this request that could not be sent, taken or answered: that says nothing of how the upstream does. */
  readonly unwelcome: boolean;
}

/** Who waits for an answer. Exactly one of `onEnd` and `onFailure` is called, unless the connection is destroyed before. */
export interface ResponseReader {
  /** The connection, which was new, stands; what was written before goes out now. */
  onConnect(): void;
  /** The final head; 1xx are passed over. */
  onHead(head: ResponseHead): void;
  /** `bytes` are valid only during the call. */
  onData(bytes: Buffer, from: number, to: number): void;
  /** Names, in lower case, and values in turn, before the end; HTTP/2 only. */
  onTrailers?(fields: readonly string[]): void;
  onEnd(): void;
  onFailure(failure: UpstreamFailure): void;
  /** The read that brought the head is used up and the answer is not complete: what there is may go out. */
  onPause(): void;
  /** What was sent has left our memory; go on sending. */
  onDrain(): void;
}

/** What a connection tells its pool. */
export interface ConnectionOwner {
  /** It stands; called before its request goes out. */
  connected(connection: Connection): void;
  /** It never came to stand; called before the reader hears of it. Not called when we gave it up ourselves. */
  unreachable(connection: Connection): void;
  /** The answer is complete and the connection good for another request. */
  freed(connection: Connection): void;
  closed(connection: Connection): void;
}

/** Larger heads are refused. */
const MAX_HEAD = 16_384;
const LARGE_BODY = 16_384;
const HEAD_END = '\r\n\r\n';

/** Until it is idle for the first time. */
const NEVER_IDLE = Number.POSITIVE_INFINITY;

/** A connection. `idleUntilMs` and `staleAtMs` belong to the pool. */
export class Connection {
  idleUntilMs = NEVER_IDLE;
  staleAtMs = Number.POSITIVE_INFINITY;
  readonly #socket: Socket;
  readonly #owner: ConnectionOwner;
  #connected = false;
  #over = false;
  #reader: ResponseReader | undefined = undefined;
  #method = '';
  #head: ResponseHead | undefined = undefined;
  #sawBytes = false;
  #sending = false;
  #bodyBytes = 0;
  #paused = false;
  /** Bytes of a head that came in several reads. */
  #partial: Buffer | undefined = undefined;
  #remaining = 0;
  #chunked: ChunkedBody | undefined = undefined;

  constructor(socket: Socket, owner: ConnectionOwner, connectedEvent: 'connect' | 'secureConnect') {
    this.#socket = socket;
    this.#owner = owner;
    socket.once(connectedEvent, () => {
      this.#connected = true;
      owner.connected(this);
      this.#reader?.onConnect();
    });
    socket.on('drain', () => this.#reader?.onDrain());
    socket.on('end', this.#onEnd);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
  }

  /** `timeout` of the last answer's Keep-Alive, in ms. */
  get keepAliveMs(): number | undefined {
    return this.#head?.keepAliveMs;
  }

  /** False while it is being made. */
  get isConnected(): boolean {
    return this.#connected;
  }

  /** False once either side has ended it. */
  get isUsable(): boolean {
    return this.#socket.writable && !this.#socket.readableEnded;
  }

  /** Sends a head; with `hasBody`, {@link sendBody} and {@link endBody} follow. The connection must be free. */
  send(head: string, method: string, hasBody: boolean, reader: ResponseReader): void {
    this.#reader = reader;
    this.#method = method;
    this.#head = undefined;
    this.#sawBytes = false;
    this.#sending = hasBody;
    this.#bodyBytes = 0;
    if (!hasBody) {
      this.#socket.write(head, 'latin1');
      return;
    }
    // The first bytes of the body usually came in one read with the head: they leave in one write too.
    this.#socket.cork();
    this.#socket.write(head, 'latin1');
    process.nextTick(() => this.#socket.uncork());
  }

  /** Sends bytes of the body; false when the caller must wait for `onDrain`. */
  sendBody(bytes: Buffer, chunked: boolean): boolean {
    this.#bodyBytes += bytes.length;
    if (!chunked) return this.#socket.write(bytes);
    this.#socket.cork();
    this.#socket.write(`${bytes.length.toString(16)}\r\n`, 'latin1');
    this.#socket.write(bytes);
    const goOn = this.#socket.write('\r\n', 'latin1');
    this.#socket.uncork();
    return goOn;
  }

  endBody(chunked: boolean): void {
    this.#sending = false;
    if (chunked) this.#socket.write('0\r\n\r\n', 'latin1');
  }

  pause(): void {
    this.#paused = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#socket.resume();
  }

  /** Ends it at once; nobody is told any more. */
  destroy(): void {
    this.#over = true;
    this.#reader = undefined;
    this.#socket.destroy();
  }

  /** It was not there in time. */
  connectTimeout(): void {
    if (!this.#connected) this.#fail('upstream_unreachable');
  }

  /** Takes `length` bytes that have arrived. */
  readonly take = (bytes: Buffer, length: number): void => {
    if (this.#reader === undefined) {
      // Nobody asked: whatever it is must not become the answer to the next request (response splitting).
      this.destroy();
      return;
    }
    this.#sawBytes = true;
    if (this.#head !== undefined) this.#takeBody(bytes, 0, length);
    else if (this.#partial === undefined) this.#takeHead(bytes, length);
    else {
      const whole = Buffer.concat([this.#partial, bytes.subarray(0, length)]);
      this.#partial = undefined;
      this.#takeHead(whole, whole.length);
    }
  };

  #takeHead(bytes: Buffer, length: number): void {
    let from = 0;
    for (;;) {
      const end = bytes.indexOf(HEAD_END, from, 'latin1');
      // The buffer is used again and again: behind `length` stand the bytes of others.
      if (end < 0 || end + HEAD_END.length > length) {
        this.#keepPartial(bytes, from, length);
        return;
      }
      const isLarge = end - from > MAX_HEAD;
      const head = isLarge ? undefined : readResponseHead(bytes.toString('latin1', from, end), this.#method);
      // 101 without having asked for an upgrade would make the rest of the connection something else than HTTP (attack 47).
      if (head === undefined || head.status === 101) {
        this.#fail('upstream_invalid', isLarge);
        return;
      }
      from = end + HEAD_END.length;
      if (head.status < 200) continue;
      this.#begin(head, bytes, from, length);
      return;
    }
  }

  #keepPartial(bytes: Buffer, from: number, to: number): void {
    const isLarge = to - from > MAX_HEAD;
    if (isLarge || !mayBecomeHead(bytes.toString('latin1', from, to))) this.#fail('upstream_invalid', isLarge);
    else if (to > from) this.#partial = Buffer.from(bytes.subarray(from, to));
  }

  #begin(head: ResponseHead, bytes: Buffer, from: number, to: number): void {
    this.#head = head;
    this.#remaining = typeof head.framing === 'number' ? head.framing : 0;
    this.#chunked = head.framing === 'chunked' ? new ChunkedBody() : undefined;
    const reader = this.#reader;
    reader?.onHead(head);
    // The reader may have had enough.
    if (this.#reader === undefined) return;
    if (head.framing === 'none') this.#complete(from < to);
    else if (from < to) this.#takeBody(bytes, from, to);
    // Once the answer is complete, the next request may be out here already, and its reader waits for a head of its own.
    if (this.#reader === reader) reader?.onPause();
  }

  #takeBody(bytes: Buffer, from: number, to: number): void {
    if (this.#chunked !== undefined) {
      this.#takeChunked(this.#chunked, bytes, from, to);
      return;
    }
    if (this.#head?.framing === 'until_close') {
      this.#reader?.onData(bytes, from, to);
      return;
    }
    const end = Math.min(to, from + this.#remaining);
    this.#remaining -= end - from;
    this.#reader?.onData(bytes, from, end);
    if (this.#remaining === 0 && this.#reader !== undefined) this.#complete(end < to);
  }

  #takeChunked(body: ChunkedBody, bytes: Buffer, from: number, to: number): void {
    const end = body.read(bytes, from, to, (part, partFrom, partTo) => this.#reader?.onData(part, partFrom, partTo));
    if (end === MORE || this.#reader === undefined) return;
    if (end === BROKEN) this.#fail('upstream_invalid');
    else this.#complete(end < to);
  }

  /** `surplus`: bytes follow that no request asked for. */
  #complete(surplus: boolean): void {
    const reader = this.#reader;
    this.#reader = undefined;
    // An answer before the whole request: the rest of the request would be taken for the next one.
    const free = this.#head?.persistent === true && !surplus && !this.#sending && this.isUsable;
    if (this.#paused) this.resume();
    if (free) this.#owner.freed(this);
    else this.#socket.destroy();
    reader?.onEnd();
  }

  #fail(reason: Reason, isLargeHead = false): void {
    const reader = this.#reader;
    this.#reader = undefined;
    // Large and slow bodies are refused by closing, often with an answer that the reset overtakes; any caller can send such. A
    // large head repeats what the caller has sent.
    const isRefused = reason === 'upstream_reset' && (this.#sending || this.#bodyBytes > LARGE_BODY);
    const unwelcome = isLargeHead || isRefused;
    const unanswered = reason === 'upstream_reset' && this.idleUntilMs !== NEVER_IDLE && !this.#sawBytes;
    const unsent = !this.#connected;
    this.#socket.destroy();
    if (unsent && !this.#over) this.#owner.unreachable(this);
    this.#over = true;
    reader?.onFailure({ reason, unanswered, unsent, unwelcome });
  }

  readonly #onEnd = () => {
    if (this.#head?.framing === 'until_close' && this.#reader !== undefined) this.#complete(false);
    else this.#fail('upstream_reset');
  };

  readonly #onError = () => this.#fail(this.#connected ? 'upstream_reset' : 'upstream_unreachable');

  readonly #onClose = () => {
    this.#fail(this.#connected ? 'upstream_reset' : 'upstream_unreachable');
    this.#owner.closed(this);
  };
}
