// Where one WebSocket frame ends and the next begins, on bytes that pass by. Only lengths are looked at: a close frame of
// ours may stand between two frames of the upstream, never inside one. RFC 6455 section 5.2.

/** Follows one direction of a WebSocket. */
export class FrameTracker {
  #head: number[] = [];
  #payloadLeft = 0;

  /** True between two frames. */
  get atBoundary(): boolean {
    return this.#payloadLeft === 0 && this.#head.length === 0;
  }

  /** Takes bytes that have passed. */
  feed(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) at = this.#step(chunk, at);
  }

  /** Like feed, but stops at the first boundary after at least one byte; returns the bytes taken. */
  feedToBoundary(chunk: Uint8Array): number {
    let at = 0;
    while (at < chunk.length) {
      at = this.#step(chunk, at);
      if (this.atBoundary) return at;
    }
    return at;
  }

  #step(chunk: Uint8Array, from: number): number {
    if (this.#payloadLeft > 0) {
      const taken = Math.min(this.#payloadLeft, chunk.length - from);
      this.#payloadLeft -= taken;
      return from + taken;
    }
    this.#head.push(chunk[from] as number);
    const length = this.#head.length >= 2 ? headLength(this.#head[1] as number) : 2;
    if (this.#head.length === length) {
      this.#payloadLeft = payloadLength(this.#head);
      this.#head = [];
    }
    return from + 1;
  }
}

function headLength(second: number): number {
  const length = second & 0x7f;
  const extended = length === 126 ? 2 : length === 127 ? 8 : 0;
  return 2 + extended + ((second & 0x80) === 0 ? 0 : 4);
}

function payloadLength(head: readonly number[]): number {
  const length = (head[1] as number) & 0x7f;
  if (length < 126) return length;
  let value = 0;
  for (let at = 2; at < (length === 126 ? 4 : 10); at += 1) value = value * 256 + (head[at] as number);
  return value;
}

/** An unmasked close frame, as servers send it. */
export function closeFrame(code: number, text: string): Buffer {
  const reason = Buffer.from(text);
  return Buffer.concat([Buffer.from([0x88, 2 + reason.length, code >> 8, code & 0xff]), reason]);
}
