// Fields of a response on their way to the client: hop-by-hop fields end here, and an upstream cannot speak in our name
// (attack 56). RFC 9110 section 7.6.1.
import { hopByHop, listTokens } from '../../http/headers.ts';

type Parsed = Readonly<Record<string, string | string[] | undefined>>;

/** Fields that only the sidecar sets. */
const ours = new Set(['ratelimit', 'ratelimit-policy']);
const dropped: ReadonlySet<string> = new Set([...hopByHop, ...ours]);

/** Flat array of names and values for the client. */
export function responseFields(parsed: Parsed, status: number): string[] {
  const listed = connectionListed(parsed.connection);
  const out: string[] = [];
  for (const name in parsed) {
    if (dropped.has(name) || listed?.has(name) || (name === 'content-length' && status === 204)) continue;
    const value = parsed[name];
    if (typeof value === 'string') out.push(name, value);
    else if (value !== undefined) for (const one of value) out.push(name, one);
  }
  return out;
}

function connectionListed(connection: string | string[] | undefined): ReadonlySet<string> | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined;
  return new Set(listTokens(Array.isArray(connection) ? connection.join(',') : connection));
}

/** Bytes that Content-Length promises; -1 without one or when it is no plain number. */
export function promisedLength(parsed: Parsed): number {
  const value = parsed['content-length'];
  return typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : -1;
}
