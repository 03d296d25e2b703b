// Takes chunked bodies apart as they come. Strict where decoders differ: line ends are CR LF, sizes are plain hexadecimal
// digits, extensions and trailers are bounded and go no further (attacks 44 to 46). RFC 9112 section 7.1.

/** Bytes of a body, valid only during the call. */
export type OnBytes = (bytes: Buffer, from: number, to: number) => void;

/** The body goes on behind the bytes given. */
export const MORE = -1;
/** The bytes are no chunked body. */
export const BROKEN = -2;

const SIZE = /^([0-9A-Fa-f]{1,12})(?:[\t ]*;[\t\x20-\x7e\x80-\xff]*)?$/;
const TRAILER = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*$/;
const MAX_LINE = 4096;
const MAX_TRAILERS = 16_384;
const LF = 0x0a;

/** Decodes one body; make a new one for the next. */
export class ChunkedBody {
  #state: 'size' | 'bytes' | 'end_of_chunk' | 'trailer' = 'size';
  #line = '';
  #remaining = 0;
  #trailerBytes = 0;

  /**
   * Reads `bytes` from `from` up to `to`, calling back for what belongs to the body. Answers the position behind the body,
   * {@link MORE}, or {@link BROKEN}.
   */
  read(bytes: Buffer, from: number, to: number, onBytes: OnBytes): number {
    let at = from;
    while (at < to) {
      if (this.#state === 'bytes') {
        const end = Math.min(to, at + this.#remaining);
        onBytes(bytes, at, end);
        this.#remaining -= end - at;
        at = end;
        if (this.#remaining === 0) this.#state = 'end_of_chunk';
        continue;
      }
      const lineEnd = bytes.indexOf(LF, at);
      const isWhole = lineEnd >= 0 && lineEnd < to;
      const end = isWhole ? lineEnd + 1 : to;
      this.#line += bytes.toString('latin1', at, end);
      at = end;
      if (this.#line.length > MAX_LINE) return BROKEN;
      if (!isWhole) return MORE;
      const read = this.#readLine();
      if (read === BROKEN) return BROKEN;
      if (read !== MORE) return at;
    }
    return MORE;
  }

  /** Takes the line that is now whole; 0 when the body is over. */
  #readLine(): number {
    const whole = this.#line;
    this.#line = '';
    if (!whole.endsWith('\r\n')) return BROKEN;
    const line = whole.slice(0, -2);
    if (this.#state === 'size') return this.#readSize(line);
    if (this.#state === 'end_of_chunk') {
      this.#state = 'size';
      return line === '' ? MORE : BROKEN;
    }
    if (line === '') return 0;
    this.#trailerBytes += whole.length;
    return TRAILER.test(line) && this.#trailerBytes <= MAX_TRAILERS ? MORE : BROKEN;
  }

  #readSize(line: string): number {
    const match = SIZE.exec(line);
    if (match === null) return BROKEN;
    this.#remaining = Number.parseInt(match[1] as string, 16);
    this.#state = this.#remaining === 0 ? 'trailer' : 'bytes';
    return MORE;
  }
}
