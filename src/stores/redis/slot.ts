// The Cluster slot of a key (Redis Cluster specification): CRC16 (XMODEM) of its hash tag, modulo 16384. Our keys have few tags,
// so each is computed once.

/** Number of slots of every Cluster. */
export const SLOTS = 16_384;
const MOST_REMEMBERED = 1000;
const remembered = new Map<string, number>();

/** The slot that `key` stands in. */
export function slotOf(key: string): number {
  const tag = tagOf(key);
  let slot = remembered.get(tag);
  if (slot === undefined) {
    slot = crc16(Buffer.from(tag)) % SLOTS;
    if (remembered.size < MOST_REMEMBERED) remembered.set(tag, slot);
  }
  return slot;
}

/** What stands between the first `{` and the next `}`, unless that is nothing; else the whole key. */
function tagOf(key: string): string {
  const open = key.indexOf('{');
  const close = open === -1 ? -1 : key.indexOf('}', open + 1);
  return close > open + 1 ? key.slice(open + 1, close) : key;
}

function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = ((crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff;
  }
  return crc;
}
