// Bytes of HTTP/2 for generated connections: one header list in many encodings that must all mean the same (RFC 7541), frames
// with and without padding and priority, header blocks cut anywhere (RFC 9113 section 6). No code of src is used here.
import { frame, frameTypes } from '../../support/http2-client.ts';
import type { Random } from '../random.ts';

/** Names and values, latin1. */
export type FieldList = readonly (readonly [name: string, value: string])[];

const STATIC_NAMES: Readonly<Record<string, number>> = {
  ':authority': 1,
  ':method': 2,
  ':path': 4,
  ':scheme': 6,
  authorization: 23,
  'content-length': 28,
  cookie: 32,
  host: 38,
  'user-agent': 58,
};
const STATIC_FIELDS: Readonly<Record<string, number>> = {
  ':method GET': 2,
  ':method POST': 3,
  ':path /': 4,
  ':scheme http': 6,
  ':scheme https': 7,
};
const STATIC_ENTRIES = 61;
const TABLE_BYTES = 4096;
const ENTRY_OVERHEAD = 32;

/** The encoder of one connection; it never evicts, so that it knows every index. */
export class HeaderEncoder {
  #entries: string[] = [];
  #bytes = 0;

  /** A whole header block. */
  block(random: Random, fields: FieldList): Buffer {
    const parts = random.chance(0.05) ? [this.#forget()] : [];
    return Buffer.concat([...parts, ...fields.map(([name, value]) => this.#field(random, name, value))]);
  }

  /** Empties the dynamic table, which only the start of a block may. */
  #forget(): Buffer {
    this.#entries = [];
    this.#bytes = 0;
    return Buffer.concat([integer(0x20, 5, 0), integer(0x20, 5, TABLE_BYTES)]);
  }

  #field(random: Random, name: string, value: string): Buffer {
    const entry = `${name} ${value}`;
    const known = this.#entries.indexOf(entry);
    if (known >= 0 && random.chance(0.7)) return integer(0x80, 7, STATIC_ENTRIES + this.#entries.length - known);
    const fixed = STATIC_FIELDS[entry];
    if (fixed !== undefined && random.chance(0.5)) return integer(0x80, 7, fixed);
    const size = name.length + value.length + ENTRY_OVERHEAD;
    const indexed = random.chance(0.4) && this.#bytes + size <= TABLE_BYTES;
    const index = random.chance(0.5) ? (STATIC_NAMES[name] ?? 0) : 0;
    const start = indexed ? integer(0x40, 6, index) : integer(random.pick([0, 0x10]), 4, index);
    if (indexed) {
      this.#entries.push(entry);
      this.#bytes += size;
    }
    return Buffer.concat([start, index === 0 ? text(name) : Buffer.alloc(0), text(value)]);
  }
}

/** An integer with a prefix of `bits` bits beside `flags` (RFC 7541 section 5.1). */
export function integer(flags: number, bits: number, value: number): Buffer {
  const most = 2 ** bits - 1;
  if (value < most) return Buffer.from([flags + value]);
  const bytes = [flags + most];
  let rest = value - most;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}

const text = (value: string) =>
  Buffer.concat([integer(0, 7, Buffer.byteLength(value, 'latin1')), Buffer.from(value, 'latin1')]);

const END_STREAM = 1;
const END_HEADERS = 4;
const PADDED = 8;
const PRIORITY = 0x20;
/** nghttp2 takes 8 continuations. */
const MOST_CUTS = 6;

/** Frames may have 16,384 bytes, with padding. */
const MOST_BYTES = 16_000;

/** HEADERS and its CONTINUATIONs: cut anywhere, padded or not. */
export function headerFrames(random: Random, stream: number, block: Buffer, ends: boolean): Buffer[] {
  const count = random.chance(0.5) ? 0 : 1 + random.below(MOST_CUTS - 2);
  const cuts = Array.from({ length: count }, () => random.below(block.length + 1));
  for (let at = MOST_BYTES; at < block.length; at += MOST_BYTES) cuts.push(at);
  const at = [0, ...cuts.sort((a, b) => a - b), block.length];
  return at.slice(1).map((end, number) => {
    const flags = number === at.length - 2 ? END_HEADERS : 0;
    const part = block.subarray(at[number], end);
    if (number > 0) return frame(frameTypes.continuation, flags, stream, part);
    return padded(random, frameTypes.headers, flags | (ends ? END_STREAM : 0), stream, part);
  });
}

/** DATA, padded or not. */
export const dataFrame = (random: Random, stream: number, bytes: string, ends: boolean): Buffer =>
  padded(random, frameTypes.data, ends ? END_STREAM : 0, stream, Buffer.from(bytes, 'latin1'));

function padded(random: Random, type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const priority = type === frameTypes.headers && random.chance(0.2);
  const weighed = priority ? Buffer.concat([Buffer.from([0, 0, 0, 0, random.below(256)]), payload]) : payload;
  const given = flags | (priority ? PRIORITY : 0);
  if (random.chance(0.7)) return frame(type, given, stream, weighed);
  const length = random.pick([0, 1, 7, 255]);
  return frame(type, given | PADDED, stream, Buffer.concat([Buffer.from([length]), weighed, Buffer.alloc(length)]));
}

const STATIC_STATUS: Readonly<Record<number, number>> = { 8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500 };

/** `:status` of a header block whose encoder keeps no table; 0 where it is none. */
export function statusOf(block: Buffer): number {
  let at = 0;
  while (((block[at] as number) & 0xe0) === 0x20) at += 1;
  const first = block[at] as number;
  if (first >= 0x80) return STATIC_STATUS[first & 0x7f] ?? 0;
  // A literal whose name is one of the seven entries for :status.
  if (((first & 0x40 ? first & 0x3f : first & 0x0f) - 8) >>> 0 > 6) return 0;
  const length = block[at + 1] as number;
  const value = block.subarray(at + 2, at + 2 + (length & 0x7f));
  return Number((length & 0x80) === 0 ? value.toString('latin1') : digits(value));
}

/** Huffman: 0 to 2 are 5 bits from 00000, 3 to 9 are 6 bits from 011001. */
function digits(bytes: Buffer): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  let found = '';
  for (let at = 0; found.length < 3; ) {
    const short = Number.parseInt(bits.slice(at, at + 5), 2);
    const isShort = short <= 2;
    found += isShort ? short : Number.parseInt(bits.slice(at, at + 6), 2) - 22;
    at += isShort ? 5 : 6;
  }
  return found;
}
