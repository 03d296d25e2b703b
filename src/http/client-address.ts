// Who is calling: the peer, or, behind proxies that the operator trusts, the right-most address that is not one of them
// (design 4.3). Everything further left was written by somebody we do not know. RFC 7239.
import { addressMatcher, type ClientAddress, readAddress } from '../core/address.ts';

/** What is believed of a peer. */
export interface Peer extends ClientAddress {
  readonly trusted: boolean;
}

/** More hops than any real chain; a longer one is not searched. */
const MAX_HOPS = 64;
const MAX_CACHED = 10_000;
const UNIX_PEER: ClientAddress = { address: 'unix', key: 'unix' };

const ELEMENT = /^(?:\[([0-9A-Fa-f:.]+)\]|(\d{1,3}(?:\.\d{1,3}){3}))(?::(?:\d{1,5}|_[\w.-]+))?$|^([0-9A-Fa-f:.]+)$/;

/**
 * Address of one element of a forwarded chain: `1.2.3.4`, `1.2.3.4:5`, `[::1]`, `[::1]:5`, `[::1]:_hidden`, `::1`; undefined
 * for others.
 */
export function elementAddress(element: string): ClientAddress | undefined {
  const match = ELEMENT.exec(element);
  if (match === null) return undefined;
  return readAddress((match[1] ?? match[2] ?? match[3]) as string);
}

/** Finds the client address of requests; caches what it learned of peers, bounded. */
export interface AddressReader {
  /** What the socket says; `unix` for a Unix socket, which is never trusted implicitly. */
  peer(remoteAddress: string | undefined): Peer;
  /**
   * The client behind a trusted peer. `lines` are all field lines of the configured field, in order; anything unreadable on
   * the way (`unknown`, `_hidden`, garbage, more than 64 hops) ends the search at the peer.
   */
  behind(peer: Peer, lines: readonly string[]): ClientAddress;
}

/** Builds the reader for one configuration. */
export function addressReader(
  trustedProxies: readonly string[],
  field: 'x_forwarded_for' | 'forwarded',
): AddressReader {
  const isTrusted = addressMatcher(trustedProxies);
  const peers = new Map<string, Peer>();
  const elementsOf = field === 'forwarded' ? forwardedElements : listElements;
  return {
    peer(remoteAddress) {
      const known = peers.get(remoteAddress ?? '');
      if (known !== undefined) return known;
      const read = remoteAddress === undefined ? undefined : readAddress(remoteAddress);
      const peer = { ...(read ?? UNIX_PEER), trusted: read !== undefined && isTrusted(read.address) };
      if (peers.size >= MAX_CACHED) peers.clear();
      peers.set(remoteAddress ?? '', peer);
      return peer;
    },
    behind(peer, lines) {
      const elements = elementsOf(lines);
      if (elements === undefined) return peer;
      let client: ClientAddress = peer;
      for (let index = elements.length - 1; index >= 0; index -= 1) {
        const address = elementAddress(elements[index] as string);
        if (address === undefined || elements.length - index > MAX_HOPS) return peer;
        client = address;
        if (!isTrusted(address.address)) return client;
      }
      return client;
    },
  };
}

// Empty elements of a list mean nothing (RFC 9110 section 5.6.1.2).
function listElements(lines: readonly string[]): readonly string[] {
  return lines
    .join(',')
    .split(',')
    .slice(-MAX_HOPS - 1)
    .map((element) => element.trim())
    .filter((element) => element !== '');
}

const FORWARDED_PAIR = /^\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)|"((?:[^"\\]|\\.)*)")\s*$/;

/** `for=` of every RFC 7239 element; undefined when the field is malformed, since then nothing in it can be believed. */
export function forwardedElements(lines: readonly string[]): readonly string[] | undefined {
  const elements: string[] = [];
  for (const element of splitOutsideQuotes(lines.join(','), ',').slice(-MAX_HOPS - 1)) {
    if (element.trim() === '') continue;
    let found = '';
    const seen = new Set<string>();
    for (const pair of splitOutsideQuotes(element, ';')) {
      if (pair.trim() === '') continue;
      const match = FORWARDED_PAIR.exec(pair);
      if (match === null) return undefined;
      const name = (match[1] as string).toLowerCase();
      if (seen.has(name)) return undefined;
      seen.add(name);
      if (name === 'for') found = (match[2] ?? match[3]?.replace(/\\(.)/g, '$1')) as string;
    }
    elements.push(found);
  }
  return elements.length === 0 ? undefined : elements;
}

function splitOutsideQuotes(text: string, separator: string): readonly string[] {
  const parts: string[] = [];
  let from = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    if (quoted && char === '\\') at += 1;
    else if (char === '"') quoted = !quoted;
    else if (char === separator && !quoted) {
      parts.push(text.slice(from, at));
      from = at + 1;
    }
  }
  parts.push(text.slice(from));
  return parts;
}
