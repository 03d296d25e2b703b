// Address lists: trusted proxies and exemptions. A list that holds every address would let any client forge its own
// address or escape a limit, so /0 is refused in every spelling.
import ipaddr from 'ipaddr.js';
import type { Path } from '../places.ts';
import type { CheckContext } from './context.ts';

/** Why an element of an address list is refused, or undefined. Attack 42: /0, also as ::ffff:0:0/96 and below. */
export function addressProblem(text: string): string | undefined {
  const [address, bits, ...rest] = text.split('/');
  const parsed = rest.length === 0 ? parseAddress(address!) : undefined;
  if (!parsed) return 'needs an IP address or a CIDR such as 10.0.0.0/8';
  if (bits === undefined) return undefined;
  const most = parsed.kind() === 'ipv4' ? 32 : 128;
  if (!/^(0|[1-9]\d{0,2})$/.test(bits) || Number(bits) > most) return `needs a prefix length from 1 to ${most}`;
  return coversEverything(parsed, Number(bits)) ? 'covers every address' : undefined;
}

function parseAddress(text: string): ipaddr.IPv4 | ipaddr.IPv6 | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return ipaddr.IPv4.parse(text);
  return text.includes(':') && !text.includes('%') && ipaddr.IPv6.isValid(text) ? ipaddr.IPv6.parse(text) : undefined;
}

const MAPPED_BITS = 96;

function coversEverything(address: ipaddr.IPv4 | ipaddr.IPv6, bits: number): boolean {
  if (bits === 0) return true;
  const network = `${address.toString()}/${bits}`;
  if (address.kind() === 'ipv4' || bits > MAPPED_BITS) return false;
  return ipaddr.IPv6.parse('::ffff:0:0').match(ipaddr.IPv6.parseCIDR(network));
}

const WIDEST_IPV4 = 8;
const WIDEST_IPV6 = 16;

/** Checks a list of addresses; very wide networks get a warning. */
export function checkAddresses(context: CheckContext, addresses: readonly string[], path: Path): void {
  addresses.forEach((text, index) => {
    const trouble = addressProblem(text);
    if (trouble) context.problem([...path, index], trouble);
    else if (isWide(text)) context.warn([...path, index], `${text} is a very wide network`);
  });
}

function isWide(text: string): boolean {
  const bits = text.split('/')[1];
  return bits !== undefined && Number(bits) < (text.includes(':') ? WIDEST_IPV6 : WIDEST_IPV4);
}
