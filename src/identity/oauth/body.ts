// Bodies of calls to the public endpoints: bounded while they arrive, form fields that each stand once (RFC 6749 section 3.2).
import type { IncomingMessage } from 'node:http';
import { invalidRequest, type OAuthError } from './errors.ts';

/** Largest form, in bytes. */
export const MAX_FORM_BYTES = 16 * 1024;
const BODY_TIMEOUT_MS = 10_000;
const FORM_TYPE = /^application\/x-www-form-urlencoded\s*(?:;\s*charset="?utf-8"?\s*)?$/i;
/** A NUL too: nothing of ours is named with one, and PostgreSQL could not be asked. */
const BAD_PERCENT = /%(?![0-9A-Fa-f]{2})|%00/;

/** Parameters of a form by name; those without a value are left out, as RFC 6749 section 3.2 says. */
export type Form = ReadonlyMap<string, string>;

/**
 * Reads a form. Throws OAuthError `invalid_request`: another media type, a content coding, parameters in the URL (where logs
 * keep them), more than 16 KiB (413), slower than 10 s (408), a parameter that stands twice, a broken escape.
 */
export async function readForm(request: IncomingMessage): Promise<Form> {
  if (!FORM_TYPE.test(request.headers['content-type'] ?? '')) {
    throw invalidRequest('send application/x-www-form-urlencoded', { status: 415 });
  }
  if ((request.url as string).includes('?')) throw invalidRequest('parameters belong into the body');
  return parseForm((await readBytes(request, MAX_FORM_BYTES)).toString('latin1'));
}

/** Fields of `text`, which is still percent-encoded. Throws OAuthError `invalid_request`. */
export function parseForm(text: string): Form {
  const fields = new Map<string, string>();
  const seen = new Set<string>();
  if (text === '') return fields;
  for (const pair of text.split('&')) {
    const equals = pair.indexOf('=');
    const name = decodeFormWord(equals < 0 ? pair : pair.slice(0, equals));
    const value = equals < 0 ? '' : decodeFormWord(pair.slice(equals + 1));
    if (name === undefined || value === undefined) throw invalidRequest('the form is not well encoded');
    if (seen.has(name)) throw invalidRequest('a parameter stands twice');
    seen.add(name);
    if (value !== '') fields.set(name, value);
  }
  return fields;
}

/** One name or value of application/x-www-form-urlencoded; undefined when it is not well encoded UTF-8, or holds a NUL. */
export function decodeFormWord(word: string): string | undefined {
  if (BAD_PERCENT.test(word) || /[^\x21-\x7e]/.test(word)) return undefined;
  try {
    return decodeURIComponent(word.replaceAll('+', ' '));
  } catch {
    // URIError: the bytes are no UTF-8.
    return undefined;
  }
}

/** The whole body. Throws OAuthError `invalid_request` for one that is coded, too large (413) or too slow (408). */
export function readBytes(request: IncomingMessage, limit: number): Promise<Buffer> {
  if (request.headers['content-encoding'] !== undefined) {
    return Promise.reject(invalidRequest('content codings are not accepted', { status: 415 }));
  }
  if (Number(request.headers['content-length'] ?? 0) > limit) return Promise.reject(tooLarge());
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const chunks: Buffer[] = [];
  let bytes = 0;
  const timer = setTimeout(() => reject(invalidRequest('the body came too slowly', { status: 408 })), BODY_TIMEOUT_MS);
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > limit) reject(tooLarge());
    else chunks.push(chunk);
  });
  request.once('end', () => resolve(Buffer.concat(chunks)));
  request.once('error', () => reject(invalidRequest('the body was cut off')));
  request.once('close', () => reject(invalidRequest('the body was cut off')));
  return promise.finally(() => {
    clearTimeout(timer);
    request.removeAllListeners('data');
  });
}

const tooLarge = (): OAuthError => invalidRequest('the body is too large', { status: 413 });
