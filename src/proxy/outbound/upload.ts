// The body of a request on its way upstream: the client's bytes as they come, with back-pressure, and no more than allowed.
import type { IncomingMessage } from 'node:http';
import type { UpstreamConnection } from './upstream-connection.ts';

/** Whom an upload tells how it goes. */
export interface UploadWatcher {
  /** Called once when the limit is passed; chunked bodies only show their size as they come. */
  onTooLarge(): void;
  /** Called for every chunk, and when the connection takes more again, so that a stalled upload can be told from a slow one. */
  onProgress(): void;
  /** The whole body has been handed over. */
  onSent(): void;
  /** Those of the trailers that the client sent that may go on. */
  passableTrailers(): readonly string[];
}

const NONE: readonly string[] = [];

/** Pipes the body of `source` into a connection on which the head has been sent. */
export class Upload {
  readonly #source: IncomingMessage;
  readonly #connection: UpstreamConnection;
  readonly #chunked: boolean;
  readonly #limit: number;
  readonly #watcher: UploadWatcher;
  #bytes = 0;
  #isHeld = false;

  constructor(
    source: IncomingMessage,
    connection: UpstreamConnection,
    options: { readonly chunked: boolean; readonly limit: number; readonly watcher: UploadWatcher },
  ) {
    this.#source = source;
    this.#connection = connection;
    this.#chunked = options.chunked;
    this.#limit = options.limit;
    this.#watcher = options.watcher;
    source.on('data', this.#onData);
    source.on('end', this.#onEnd);
  }

  /** True while the connection takes no more: it is not the client that is slow. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  /** The connection can take more. */
  resume(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#watcher.onProgress();
    this.#source.resume();
  }

  /** Stops where it is; the client's connection stays as it is, so that an answer can still be written to it. */
  stop(): void {
    this.#isHeld = false;
    this.#source.off('data', this.#onData);
    this.#source.off('end', this.#onEnd);
    // Paused, what still comes would never be read, and the connection never be free for another request.
    this.#source.resume();
  }

  readonly #onData = (bytes: Buffer) => {
    this.#bytes += bytes.length;
    this.#watcher.onProgress();
    if (this.#bytes > this.#limit) {
      this.stop();
      this.#watcher.onTooLarge();
    } else if (!this.#connection.sendBody(bytes, this.#chunked)) {
      this.#isHeld = true;
      this.#source.pause();
    }
  };

  readonly #onEnd = () => {
    this.stop();
    const hasTrailers = this.#source.rawTrailers.length > 0;
    this.#connection.endBody(this.#chunked, hasTrailers ? this.#watcher.passableTrailers() : NONE);
    this.#watcher.onSent();
  };
}
