// Fetches a JSON document of an issuer (metadata or JWKS) over a hostile network: bounded in time, size and redirects,
// never to where the configuration did not point (RFC 8725 section 3.10). What the documents mean is for the callers.
import { type Dispatcher, request } from 'undici';
import { parseStrictObject } from '../core/strict-json.ts';
import type { RefreshOutcome } from './key-set.ts';

/** Largest document read, in bytes. */
export const MAX_DOCUMENT_BYTES = 1024 * 1024;
const MAX_REDIRECTS = 3;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

/** A refresh that failed, with its metric label; the message is for logs and quotes nothing that was received. */
export class FetchFailure extends Error {
  override readonly name = 'FetchFailure';
  readonly outcome: Exclude<RefreshOutcome, 'ok'>;

  constructor(outcome: Exclude<RefreshOutcome, 'ok'>, message: string, options?: ErrorOptions) {
    super(message, options);
    this.outcome = outcome;
  }
}

/**
 * The URL of a document we may fetch: https, or http to loopback. With `from`, a URL that an https document named must be
 * https too. Throws FetchFailure `url_refused`.
 */
export function documentUrl(text: unknown, from?: URL): URL {
  const url = typeof text === 'string' ? URL.parse(text) : null;
  if (url === null || url.username !== '' || url.password !== '') {
    throw new FetchFailure('url_refused', 'not a URL without credentials');
  }
  if (url.protocol === 'https:') return url;
  if (url.protocol !== 'http:' || !LOOPBACK.test(url.hostname)) {
    throw new FetchFailure('url_refused', 'keys are fetched by https only, or by http from loopback');
  }
  if (from?.protocol === 'https:') throw new FetchFailure('url_refused', 'an https document names an http one');
  return url;
}

function redirectTarget(location: string | string[] | undefined, from: URL): URL {
  const target = typeof location === 'string' ? URL.parse(location, from) : null;
  // Another origin could be a metadata service or somebody else's keys (attack 82); the same origin keeps https too.
  if (target === null || target.origin !== from.origin || target.username !== '' || target.password !== '') {
    throw new FetchFailure('redirect_refused', 'redirected to another origin');
  }
  return target;
}

async function readBounded(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > MAX_DOCUMENT_BYTES) throw new FetchFailure('too_large', 'the document is larger than 1 MiB');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function get(url: URL, dispatcher: Dispatcher, signal: AbortSignal): Promise<Buffer> {
  let at = url;
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects += 1) {
    const answer = await request(at, {
      dispatcher,
      signal,
      headers: { accept: 'application/json, application/jwk-set+json', 'user-agent': 'doorward' },
    });
    if (answer.statusCode === 200) return await readBounded(answer.body);
    // Errors of a body that nobody wants must not surface as unhandled.
    answer.body.on('error', () => {}).destroy();
    if (!REDIRECTS.has(answer.statusCode)) throw new FetchFailure('status', `answered ${answer.statusCode}`);
    at = redirectTarget(answer.headers.location, at);
  }
  throw new FetchFailure('redirect_refused', `redirected more than ${MAX_REDIRECTS} times`);
}

/**
 * Fetches and reads one strict JSON object; throws FetchFailure. Compression is never offered, so the size bound is on
 * what was sent. `signal` ends the whole exchange, redirects and body included.
 */
export async function fetchDocument(
  url: URL,
  dispatcher: Dispatcher,
  signal: AbortSignal,
): Promise<Record<string, unknown>> {
  let bytes: Buffer;
  try {
    bytes = await get(url, dispatcher, signal);
  } catch (cause) {
    if (cause instanceof FetchFailure) throw cause;
    if (signal.aborted) throw new FetchFailure('timeout', 'no whole answer within the timeout', { cause });
    throw new FetchFailure('unreachable', 'the connection failed', { cause });
  }
  const document = parseStrictObject(bytes);
  if (document === undefined) throw new FetchFailure('malformed', 'the answer is not a strict JSON object');
  return document;
}
