// The hash table of the revocation index: 1,024 small open-addressing tables, each grown on its own. With a million entries
// a growing one moves a thousand, so that no request ever waits for the whole to be rehashed. A slot is (hash, record).
import type { Ref } from './arena.ts';

const SEGMENT_BITS = 10;
/** How many tables there are; the low bits of a hash choose. */
export const SEGMENTS = 1 << SEGMENT_BITS;
const HOME_RANGE = 2 ** (32 - SEGMENT_BITS);
const MIN_CAPACITY = 8;
const MAX_LOAD = 0.8;
const MIN_LOAD = 0.3;
const GROWTH = 1.25;

interface Segment {
  /** Pairs of hash and record; record 0 is an empty slot. */
  slots: Uint32Array;
  capacity: number;
  count: number;
}

/** Tells whether a record is the one that is looked for. */
export interface Keys {
  is(ref: Ref, kind: number, issuer: number, id: string): boolean;
}

const homeOf = (hash: number, capacity: number) => Math.floor(((hash >>> SEGMENT_BITS) * capacity) / HOME_RANGE);
const makeSegment = (capacity: number): Segment => ({ slots: new Uint32Array(2 * capacity), capacity, count: 0 });

/** Records by the hash of their key. */
export class Slots {
  readonly #segments: (Segment | undefined)[] = new Array(SEGMENTS).fill(undefined);
  readonly #keys: Keys;
  #size = 0;

  constructor(keys: Keys) {
    this.#keys = keys;
  }

  /** Records held. */
  get size(): number {
    return this.#size;
  }

  /** The record with this key, or 0. Allocates nothing. */
  find(hash: number, kind: number, issuer: number, id: string): Ref {
    const segment = this.#segments[hash & (SEGMENTS - 1)];
    if (segment === undefined) return 0;
    const { slots, capacity } = segment;
    for (let at = homeOf(hash, capacity); ; at = at + 1 === capacity ? 0 : at + 1) {
      const ref = slots[2 * at + 1] as number;
      if (ref === 0) return 0;
      // Equal hashes are not equal ids: whoever is refused by a collision is refused wrongly.
      if (slots[2 * at] === hash && this.#keys.is(ref, kind, issuer, id)) return ref;
    }
  }

  /** Adds a record whose key is not held yet. */
  add(hash: number, ref: Ref): void {
    const number = hash & (SEGMENTS - 1);
    let segment = this.#segments[number];
    if (segment === undefined || segment.count + 1 > MAX_LOAD * segment.capacity) {
      segment = resized(segment, Math.max(MIN_CAPACITY, Math.ceil((segment?.capacity ?? 0) * GROWTH)));
      this.#segments[number] = segment;
    }
    insert(segment, hash, ref);
    this.#size += 1;
  }

  /** Names the record of `hash` anew after it was moved. */
  move(hash: number, from: Ref, to: Ref): void {
    const segment = this.#segments[hash & (SEGMENTS - 1)] as Segment;
    segment.slots[2 * placeOf(segment, hash, from) + 1] = to;
  }

  /** Removes a record that is held. */
  remove(hash: number, ref: Ref): void {
    const number = hash & (SEGMENTS - 1);
    const segment = this.#segments[number] as Segment;
    closeGap(segment, placeOf(segment, hash, ref));
    segment.count -= 1;
    this.#size -= 1;
    if (segment.count === 0) this.#segments[number] = undefined;
    else if (segment.capacity > MIN_CAPACITY && segment.count < MIN_LOAD * segment.capacity) {
      this.#segments[number] = resized(segment, Math.max(MIN_CAPACITY, Math.ceil(segment.capacity / 2)));
    }
  }

  /** A copy of one table as pairs of hash and record: for walking while entries come and go. */
  pairs(number: number): readonly number[] {
    const pairs: number[] = [];
    const slots = this.#segments[number]?.slots ?? [];
    for (let at = 0; at < slots.length; at += 2) {
      if (slots[at + 1] !== 0) pairs.push(slots[at] as number, slots[at + 1] as number);
    }
    return pairs;
  }
}

function insert(segment: Segment, hash: number, ref: Ref): void {
  const { slots, capacity } = segment;
  let at = homeOf(hash, capacity);
  while (slots[2 * at + 1] !== 0) at = at + 1 === capacity ? 0 : at + 1;
  slots[2 * at] = hash;
  slots[2 * at + 1] = ref;
  segment.count += 1;
}

function resized(segment: Segment | undefined, capacity: number): Segment {
  const next = makeSegment(capacity);
  const slots = segment?.slots ?? [];
  for (let at = 0; at < slots.length; at += 2) {
    if (slots[at + 1] !== 0) insert(next, slots[at] as number, slots[at + 1] as number);
  }
  return next;
}

function placeOf({ slots, capacity }: Segment, hash: number, ref: Ref): number {
  let at = homeOf(hash, capacity);
  while (slots[2 * at + 1] !== ref) {
    if (slots[2 * at + 1] === 0) throw new TypeError('no such record');
    at = at + 1 === capacity ? 0 : at + 1;
  }
  return at;
}

/** Moves back what was pushed past the gap, so that no chain of slots is broken and no mark has to be left. */
function closeGap({ slots, capacity }: Segment, place: number): void {
  let gap = place;
  for (let at = (gap + 1) % capacity; slots[2 * at + 1] !== 0; at = (at + 1) % capacity) {
    const home = homeOf(slots[2 * at] as number, capacity);
    if ((at - home + capacity) % capacity < (at - gap + capacity) % capacity) continue;
    slots[2 * gap] = slots[2 * at] as number;
    slots[2 * gap + 1] = slots[2 * at + 1] as number;
    gap = at;
  }
  slots[2 * gap] = 0;
  slots[2 * gap + 1] = 0;
}
