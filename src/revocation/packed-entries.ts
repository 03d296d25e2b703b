// All entries of the revocation index as packed bytes: about 55 bytes for a UUID, beside about 250 of an object in a map.
// What an entry means is index.ts's; this knows its layout only. A record, little-endian:
//   0 length of the id (u16); 2 kind, spelling of the id, which of the last two times are there (u8); 3 issuer (u24); 6 reason (u24);
//   9 until (u48, the highest for ever); 15 revoked at (u48); 21 seq (u48); 27 not before (u48, if any); made at (u48, if any); then
//   the id.
import { revocationEntryId } from '../stores/contracts/entry-id.ts';
import { type RevocationEntry, type RevocationKind, revocationKinds } from '../stores/contracts/revocations.ts';
import { Arena, type Ref } from './arena.ts';
import { Interned } from './interned.ts';
import { formOf, type IdForm, idBytes, readId, writeId } from './packed-id.ts';
import { type Hash, seededHash } from './seeded-hash.ts';
import { SEGMENTS, Slots } from './slots.ts';

const FOREVER = 2 ** 48 - 1;
const LAST = FOREVER - 1;
const HAS_NOT_BEFORE = 0x20;
const HAS_MADE = 0x40;
const HEAD_BYTES = 27;
const TIME_BYTES = 6;
const MAX_ID_BYTES = 0xffff;
/** One key for all indexes of this process, so that a walk over one that was exchanged meanwhile goes on where it was. */
const processHash = seededHash();

const kindNumbers = new Map<RevocationKind, number>(revocationKinds.map((kind, at) => [kind, at]));
const kindNumber = (kind: RevocationKind) => kindNumbers.get(kind) as number;
const within = (value: number) => Math.min(Math.max(value, 0), LAST);

/** Entries by (kind, issuer, id). Times are kept within 1970 and the year 10889; others become the nearer end. */
export class PackedEntries {
  readonly #hash: Hash;
  readonly #arena = new Arena();
  readonly #issuers = new Interned();
  readonly #reasons = new Interned();
  readonly #slots: Slots;
  /** How many there are of each kind: what is not there is not looked up. */
  readonly #kinds: number[] = revocationKinds.map(() => 0);
  #sparse: ReadonlySet<number> = new Set();

  /** `hash` is given only by tests of what happens when hashes are equal. */
  constructor(hash: Hash = processHash) {
    this.#hash = hash;
    this.#slots = new Slots(this);
  }

  /** Entries held. */
  get size(): number {
    return this.#slots.size;
  }

  /** Bytes of the records, free room included; tables come to 10 to 13 bytes an entry beside it. */
  get arenaBytes(): number {
    return this.#arena.bytes;
  }

  /** Whether there is any entry of this kind. */
  has(kind: number): boolean {
    return (this.#kinds[kind] as number) > 0;
  }

  /** The record of (kind, issuer, id), or 0. Allocates nothing when there is none. */
  find(kind: number, issuer: string, id: string): Ref {
    const number = this.#issuers.numberOf(issuer);
    return number === undefined ? 0 : this.#slots.find(this.#hashOf(kind, number, id), kind, number, id);
  }

  /** Adds an entry, in place of the one for the same (kind, issuer, id). Throws TypeError for an id beyond 65,535 bytes. */
  put(entry: RevocationEntry): void {
    const form = formOf(entry.id);
    const length = idBytes(entry.id, form);
    if (length > MAX_ID_BYTES) throw new TypeError('the id of a revocation is too long');
    const kind = kindNumber(entry.kind);
    const issuer = this.#issuers.take(entry.issuer);
    const hash = this.#hashOf(kind, issuer, entry.id);
    const held = this.#slots.find(hash, kind, issuer, entry.id);
    if (held !== 0) this.#drop(hash, held);
    const ref = this.#arena.allocate(sizeOf(length, flagsOf(entry)));
    this.#write(ref, entry, { kind, form, length, issuer });
    this.#slots.add(hash, ref);
    this.#kinds[kind] = (this.#kinds[kind] as number) + 1;
  }

  /** Removes the entry of (kind, issuer, id); false when there is none. */
  remove(kind: RevocationKind, issuer: string, id: string): boolean {
    const ref = this.find(kindNumber(kind), issuer, id);
    if (ref === 0) return false;
    this.#drop(this.#hashOf(kindNumber(kind), this.#issuers.numberOf(issuer) as number, id), ref);
    return true;
  }

  /** The whole entry of a record. */
  entryOf(ref: Ref): RevocationEntry {
    const kind = this.kindOf(ref);
    const issuer = this.#issuers.textOf(this.#numberAt(ref, 3, 3));
    const id = this.#idOf(ref);
    const notBeforeMs = this.notBeforeMs(ref);
    const untilMs = this.untilMs(ref) === Number.POSITIVE_INFINITY ? ('forever' as const) : this.untilMs(ref);
    const bounds = notBeforeMs === undefined ? { untilMs } : { untilMs, notBeforeMs };
    const reason = this.#reasons.textOf(this.#numberAt(ref, 6, 3));
    const madeAtMs = this.madeAtMs(ref);
    const made = madeAtMs === undefined ? {} : { madeAtMs };
    const place = {
      entryId: revocationEntryId(kind, issuer, id),
      seq: this.seqOf(ref),
      revokedAtMs: this.revokedAtMs(ref),
    };
    return { kind, issuer, id, ...bounds, reason, ...made, ...place };
  }

  /** Kind of a record. */
  kindOf(ref: Ref): RevocationKind {
    return revocationKinds[this.#flagsOf(ref) & 7] as RevocationKind;
  }

  /** When a record ends; Infinity for ever. */
  untilMs(ref: Ref): number {
    const until = this.#numberAt(ref, 9, 6);
    return until === FOREVER ? Number.POSITIVE_INFINITY : until;
  }

  /** What was issued at or after this passes; undefined when nothing does. */
  notBeforeMs(ref: Ref): number | undefined {
    return (this.#flagsOf(ref) & HAS_NOT_BEFORE) === 0 ? undefined : this.#numberAt(ref, HEAD_BYTES, 6);
  }

  /** When it was revoked. */
  revokedAtMs(ref: Ref): number {
    return this.#numberAt(ref, 15, 6);
  }

  /** When it was made, where it says so. */
  madeAtMs(ref: Ref): number | undefined {
    const flags = this.#flagsOf(ref);
    return (flags & HAS_MADE) === 0 ? undefined : this.#numberAt(ref, headBytes(flags) - TIME_BYTES, TIME_BYTES);
  }

  /** Its place in the log; 0 while it has none. */
  seqOf(ref: Ref): number {
    return this.#numberAt(ref, 21, 6);
  }

  /** The records of one of {@link SEGMENTS} parts. They stay good until entries are changed. */
  *refsIn(segment: number): Generator<Ref> {
    const pairs = this.#slots.pairs(segment);
    for (let at = 1; at < pairs.length; at += 2) yield pairs[at] as number;
  }

  /**
   * Frees what has expired in one part, and moves records out of chunks that are mostly free; answers how many it looked at.
   * What is sparse is found anew with part 0, so parts are to be swept in order.
   */
  sweep(segment: number, nowMs: number): number {
    if (segment === 0) this.#sparse = this.#arena.sparse();
    const pairs = this.#slots.pairs(segment);
    for (let at = 0; at < pairs.length; at += 2) {
      const [hash, ref] = [pairs[at] as number, pairs[at + 1] as number];
      if (this.untilMs(ref) <= nowMs) this.#drop(hash, ref);
      else if (this.#sparse.has(this.#arena.numberOf(ref))) this.#move(hash, ref);
    }
    return pairs.length / 2;
  }

  /** For the hash table: compares in full. */
  is(ref: Ref, kind: number, issuer: number, id: string): boolean {
    return (this.#flagsOf(ref) & 7) === kind && this.#numberAt(ref, 3, 3) === issuer && this.#idOf(ref) === id;
  }

  #hashOf(kind: number, issuer: number, id: string): number {
    return this.#hash(kind | (issuer << 3), id);
  }

  #numberAt(ref: Ref, at: number, bytes: number): number {
    return this.#arena.chunkOf(ref).readUIntLE(this.#arena.offsetOf(ref) + at, bytes);
  }

  #flagsOf(ref: Ref): number {
    return this.#arena.chunkOf(ref)[this.#arena.offsetOf(ref) + 2] as number;
  }

  #idOf(ref: Ref): string {
    const flags = this.#flagsOf(ref);
    const at = this.#arena.offsetOf(ref) + headBytes(flags);
    return readId(this.#arena.chunkOf(ref), at, this.#numberAt(ref, 0, 2), ((flags >> 3) & 3) as IdForm);
  }

  #sizeOf(ref: Ref): number {
    return sizeOf(this.#numberAt(ref, 0, 2), this.#flagsOf(ref));
  }

  #write(
    ref: Ref,
    entry: RevocationEntry,
    { kind, form, length, issuer }: { kind: number; form: IdForm; length: number; issuer: number },
  ): void {
    const { id, untilMs, notBeforeMs, madeAtMs, revokedAtMs, seq, reason } = entry;
    const bytes = this.#arena.chunkOf(ref);
    const start = this.#arena.offsetOf(ref);
    const flags = flagsOf(entry);
    const end = start + headBytes(flags);
    bytes.writeUInt16LE(length, start);
    bytes[start + 2] = kind | (form << 3) | flags;
    bytes.writeUIntLE(issuer, start + 3, 3);
    bytes.writeUIntLE(this.#reasons.take(reason), start + 6, 3);
    bytes.writeUIntLE(untilMs === 'forever' ? FOREVER : within(untilMs), start + 9, 6);
    bytes.writeUIntLE(within(revokedAtMs), start + 15, 6);
    bytes.writeUIntLE(within(seq), start + 21, 6);
    if (notBeforeMs !== undefined) bytes.writeUIntLE(within(notBeforeMs), start + HEAD_BYTES, TIME_BYTES);
    if (madeAtMs !== undefined) bytes.writeUIntLE(within(madeAtMs), end - TIME_BYTES, TIME_BYTES);
    writeId(bytes, end, id, form);
  }

  #drop(hash: number, ref: Ref): void {
    const kind = this.#flagsOf(ref) & 7;
    this.#kinds[kind] = (this.#kinds[kind] as number) - 1;
    this.#issuers.release(this.#numberAt(ref, 3, 3));
    this.#reasons.release(this.#numberAt(ref, 6, 3));
    this.#slots.remove(hash, ref);
    this.#arena.release(ref, this.#sizeOf(ref));
  }

  #move(hash: number, from: Ref): void {
    const size = this.#sizeOf(from);
    const to = this.#arena.allocate(size);
    const start = this.#arena.offsetOf(from);
    this.#arena.chunkOf(from).copy(this.#arena.chunkOf(to), this.#arena.offsetOf(to), start, start + size);
    this.#slots.move(hash, from, to);
    this.#arena.release(from, size);
  }
}

const flagsOf = ({ notBeforeMs, madeAtMs }: RevocationEntry) =>
  (notBeforeMs === undefined ? 0 : HAS_NOT_BEFORE) | (madeAtMs === undefined ? 0 : HAS_MADE);
const headBytes = (flags: number) =>
  HEAD_BYTES + (flags & HAS_NOT_BEFORE ? TIME_BYTES : 0) + (flags & HAS_MADE ? TIME_BYTES : 0);
const sizeOf = (length: number, flags: number) => headBytes(flags) + length;

/** The parts that {@link PackedEntries.refsIn} and {@link PackedEntries.sweep} go over. */
export const PARTS = SEGMENTS;
