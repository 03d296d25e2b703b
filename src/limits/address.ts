// Which bucket an address counts in, and whether a limit leaves it out. IPv6 counts by /64, because that is what one
// customer gets; an IPv4 address is one bucket however it is written (attack 99).
import ipaddr from 'ipaddr.js';
import { LRUCache } from 'lru-cache';

type Address = ipaddr.IPv4 | ipaddr.IPv6;

const MAX_KEPT = 10_000;
const keys = new LRUCache<string, string>({ max: MAX_KEPT });

function parse(address: string): Address | undefined {
  const bare = address.includes('%') ? address.slice(0, address.indexOf('%')) : address;
  return ipaddr.isValid(bare) ? ipaddr.process(bare) : undefined;
}

/** Bucket of an address: itself for IPv4 (`::ffff:` unmapped), its /64 for IPv6, the text itself for anything else. */
export function addressKey(address: string): string {
  const kept = keys.get(address);
  if (kept !== undefined) return kept;
  const parsed = parse(address);
  let key = address;
  if (parsed?.kind() === 'ipv4') key = parsed.toString();
  else if (parsed)
    key = `${(parsed as ipaddr.IPv6).parts
      .slice(0, 4)
      .map((part) => part.toString(16))
      .join(':')}::/64`;
  keys.set(address, key);
  return key;
}

/** A list of CIDRs, read once. */
export type AddressMatcher = (address: string) => boolean;

/** Reads addresses and CIDRs; throws TypeError for what is neither (the configuration was validated before). */
export function addressMatcher(texts: readonly string[]): AddressMatcher {
  const ranges = texts.map(parseRange);
  if (ranges.length === 0) return () => false;
  return (address) => {
    const parsed = parse(address);
    return (
      parsed !== undefined && ranges.some(([base, bits]) => base.kind() === parsed.kind() && within(parsed, base, bits))
    );
  };
}

const within = (address: Address, base: Address, bits: number) =>
  address.kind() === 'ipv4'
    ? (address as ipaddr.IPv4).match(base as ipaddr.IPv4, bits)
    : (address as ipaddr.IPv6).match(base as ipaddr.IPv6, bits);

function parseRange(text: string): [Address, number] {
  const [base = '', bits] = text.split('/');
  const address = ipaddr.isValid(base) ? ipaddr.parse(base) : undefined;
  if (address === undefined) throw new TypeError(`no address or CIDR: ${text}`);
  const size = address.kind() === 'ipv4' ? 32 : 128;
  const length = bits === undefined ? size : Number(bits);
  if (!Number.isInteger(length) || length < 0 || length > size) throw new TypeError(`no address or CIDR: ${text}`);
  const plain = ipaddr.process(base);
  // ::ffff:10.0.0.0/104 means 10.0.0.0/8.
  return plain.kind() === address.kind() ? [plain, length] : [plain, Math.max(0, length - 96)];
}
