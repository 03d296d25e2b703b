// IP addresses: one canonical text for each, the bucket it counts in, and lists of networks. IPv6 counts by /64, because
// that is what one subscriber gets; an IPv4 address is one bucket however it is written (attack 99).
import ipaddr from 'ipaddr.js';

/** An address to show, and the one to count under. */
export interface ClientAddress {
  /** Canonical text; an IPv4-mapped IPv6 address is shown as IPv4. */
  readonly address: string;
  /** IPv4 address, or the /64 of an IPv6 one. */
  readonly key: string;
}

type Address = ipaddr.IPv4 | ipaddr.IPv6;

const MAPPED_BITS = 96;

function parse(text: string): Address | undefined {
  const zone = text.indexOf('%');
  const bare = zone < 0 ? text : text.slice(0, zone);
  if (!ipaddr.isValid(bare)) return undefined;
  // 127.1, 0x7f.1 and 0177.0.0.1 are addresses to some programs and names to others: never to us.
  if (ipaddr.IPv4.isValid(bare) && !ipaddr.IPv4.isValidFourPartDecimal(bare)) return undefined;
  return ipaddr.process(bare);
}

/** Reads an address, with or without a zone; undefined for anything else. */
export function readAddress(text: string): ClientAddress | undefined {
  const address = parse(text);
  if (address === undefined) return undefined;
  if (address.kind() === 'ipv4') return { address: address.toString(), key: address.toString() };
  const words = (address as ipaddr.IPv6).parts.slice(0, 4).map((word) => word.toString(16));
  return { address: address.toString(), key: `${words.join(':')}::/64` };
}

/** Bucket of an address; the text itself for what is none. */
export function addressKey(text: string): string {
  return readAddress(text)?.key ?? text;
}

/** A list of networks, read once. */
export type AddressMatcher = (address: string) => boolean;

/** Reads CIDRs and single addresses; throws TypeError for what is neither (config/validate.ts has refused it before). */
export function addressMatcher(texts: readonly string[]): AddressMatcher {
  const ranges = texts.map(parseRange);
  if (ranges.length === 0) return () => false;
  return (text) => {
    const address = parse(text);
    return (
      address !== undefined &&
      ranges.some(([base, bits]) => base.kind() === address.kind() && address.match(base as never, bits))
    );
  };
}

function parseRange(text: string): [Address, number] {
  const [base, bits] = parseCidr(text);
  // ::ffff:10.0.0.0/104 means 10.0.0.0/8: addresses are compared unmapped.
  const mapped = base.kind() === 'ipv6' && (base as ipaddr.IPv6).isIPv4MappedAddress() && bits >= MAPPED_BITS;
  return mapped ? [(base as ipaddr.IPv6).toIPv4Address(), bits - MAPPED_BITS] : [base, bits];
}

function parseCidr(text: string): [Address, number] {
  try {
    if (text.includes('/')) return ipaddr.parseCIDR(text);
    const address = ipaddr.parse(text);
    return [address, address.kind() === 'ipv4' ? 32 : 128];
  } catch (cause) {
    throw new TypeError(`no address or CIDR: ${text}`, { cause });
  }
}
