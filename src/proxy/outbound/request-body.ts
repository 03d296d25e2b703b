// The body of a request on its way upstream. A thin relay stands between the client and undici, because undici destroys a
// body stream when a dispatch fails, and destroying the client's own stream would cut the connection before we answered.
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';

/** Passes the client's bytes on with back-pressure, and stops when there are more than allowed. */
export class RequestBody extends Readable {
  readonly #source: IncomingMessage;
  #bytes = 0;
  readonly #limit: number;
  /** Called once when the limit is passed; chunked bodies only show their size as they come. */
  readonly #onTooLarge: () => void;
  /** Called for every chunk, so that a stalled upload can be told from a slow one. */
  readonly #onProgress: () => void;

  constructor(source: IncomingMessage, limit: number, hooks: { onTooLarge: () => void; onProgress: () => void }) {
    super({ highWaterMark: 65_536 });
    this.#source = source;
    this.#limit = limit;
    this.#onTooLarge = hooks.onTooLarge;
    this.#onProgress = hooks.onProgress;
    source.on('data', this.#onData);
    source.on('end', this.#onEnd);
    source.on('close', this.#onClose);
  }

  readonly #onData = (chunk: Buffer) => {
    this.#bytes += chunk.length;
    this.#onProgress();
    if (this.#bytes > this.#limit) {
      this.#detach();
      this.#onTooLarge();
    } else if (!this.push(chunk)) {
      this.#source.pause();
    }
  };

  readonly #onEnd = () => {
    this.#detach();
    this.push(null);
  };

  readonly #onClose = () => {
    this.#detach();
    if (!this.#source.complete) this.destroy(new Error('the client went away during the body'));
  };

  #detach(): void {
    this.#source.off('data', this.#onData);
    this.#source.off('end', this.#onEnd);
    this.#source.off('close', this.#onClose);
  }

  override _read(): void {
    this.#source.resume();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#detach();
    callback(error);
  }
}
