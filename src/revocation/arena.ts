// Memory for packed records: chunks of 1 MiB outside the JavaScript heap, so that a million entries cost the collector
// nothing. A record is named by a number (chunk and offset) and never spans chunks. Chunks are given back when their last
// record goes; sparse ones are emptied by whoever owns the records (packed-entries.ts).
const CHUNK_BITS = 20;
const CHUNK_BYTES = 1 << CHUNK_BITS;
const OFFSET_MASK = CHUNK_BYTES - 1;
/** 4 GiB: what 32 bits can name. */
const MAX_CHUNKS = 1 << (32 - CHUNK_BITS);
const SPARSE = 0.8;
/** Emptying costs the copy beside the original: at most this share of all chunks at a time. */
const EMPTIED_SHARE = 1 / 8;

/** Names a record; 0 names none. */
export type Ref = number;

/** Growing and shrinking room for records. */
export class Arena {
  // Chunk 0 is never used, so that no record is called 0.
  readonly #chunks: (Buffer | undefined)[] = [undefined];
  readonly #live: number[] = [0];
  readonly #free: number[] = [];
  #current = 0;
  #end = CHUNK_BYTES;
  #liveBytes = 0;

  /** Bytes taken from the system. */
  get bytes(): number {
    return (this.#chunks.length - 1 - this.#free.length) * CHUNK_BYTES;
  }

  /** Room for `size` bytes (at most a chunk). Throws RangeError beyond 4 GiB. */
  allocate(size: number): Ref {
    if (this.#end + size > CHUNK_BYTES) this.#open(size);
    const ref = this.#current * CHUNK_BYTES + this.#end;
    this.#end += size;
    this.#live[this.#current] = (this.#live[this.#current] as number) + size;
    this.#liveBytes += size;
    return ref;
  }

  /** The chunk of a record; it begins at {@link offsetOf}. */
  chunkOf(ref: Ref): Buffer {
    return this.#chunks[ref >>> CHUNK_BITS] as Buffer;
  }

  /** Where a record begins in its chunk. */
  offsetOf(ref: Ref): number {
    return ref & OFFSET_MASK;
  }

  /** Gives the room of a record back; its name must not be used again. */
  release(ref: Ref, size: number): void {
    const number = ref >>> CHUNK_BITS;
    const left = (this.#live[number] as number) - size;
    this.#live[number] = left;
    this.#liveBytes -= size;
    if (left > 0) return;
    if (number === this.#current) {
      this.#end = 0;
      return;
    }
    this.#chunks[number] = undefined;
    this.#free.push(number);
  }

  /** Numbers of the chunks worth emptying, the emptiest first and an eighth of all at most; none while little is wasted. */
  sparse(): ReadonlySet<number> {
    const wasted = this.bytes - this.#liveBytes;
    if (wasted < 2 * CHUNK_BYTES || wasted < this.#liveBytes * (1 - SPARSE)) return new Set();
    const sparse: number[] = [];
    for (let number = 1; number < this.#chunks.length; number += 1) {
      const isSparse = (this.#live[number] as number) < SPARSE * CHUNK_BYTES;
      if (isSparse && this.#chunks[number] !== undefined && number !== this.#current) sparse.push(number);
    }
    sparse.sort((a, b) => (this.#live[a] as number) - (this.#live[b] as number));
    return new Set(sparse.slice(0, Math.ceil(this.#chunks.length * EMPTIED_SHARE)));
  }

  /** The number of the chunk that holds a record. */
  numberOf(ref: Ref): number {
    return ref >>> CHUNK_BITS;
  }

  #open(size: number): void {
    if (size > CHUNK_BYTES) throw new TypeError(`a record of ${size} bytes`);
    const number = this.#free.pop() ?? this.#chunks.length;
    if (number >= MAX_CHUNKS) throw new RangeError('the revocation index is full');
    this.#chunks[number] = Buffer.allocUnsafeSlow(CHUNK_BYTES);
    this.#live[number] = 0;
    this.#current = number;
    this.#end = 0;
  }
}
