// Reads the body of an admin request: bounded while it arrives, JSON only, strict. What the fields mean is each endpoint's
// schema. RFC 8259, RFC 9110 section 8.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { SidecarError } from '../core/errors.ts';
import type { Reason } from '../core/reasons.ts';
import { parseStrictObject } from '../core/strict-json.ts';

/** Largest body, in bytes; counted as it arrives, since a chunked one announces nothing. */
export const MAX_BODY_BYTES = 64 * 1024;
const BODY_TIMEOUT_MS = 10_000;
const JSON_TYPE = /^application\/json\s*(?:;\s*charset="?utf-8"?\s*)?$/i;

function refuse(reason: Reason, message: string): SidecarError {
  return new SidecarError('malformed', reason, message);
}

/** True when the request announces a body. */
export function hasBody(request: IncomingMessage): boolean {
  return request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0;
}

/**
 * The JSON object in the body. Throws SidecarError: 415 for another media type or any content coding, 413, 408 after 10 s,
 * 400 for what is no strict JSON object. `expectsContinue`: 100 is sent once the head has passed.
 */
export async function readJsonBody(
  request: IncomingMessage,
  response: ServerResponse,
  expectsContinue: boolean,
): Promise<Record<string, unknown>> {
  if (!JSON_TYPE.test(request.headers['content-type'] ?? ''))
    throw refuse('media_type_unsupported', 'send application/json');
  if (request.headers['content-encoding'] !== undefined)
    throw refuse('media_type_unsupported', 'content codings are not accepted');
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES)
    throw refuse('body_too_large', 'the body is larger than 64 KiB');
  if (expectsContinue) response.writeContinue();
  const document = parseStrictObject(await readBytes(request));
  if (document === undefined) throw refuse('request_malformed', 'the body is not a strict JSON object');
  return document;
}

function readBytes(request: IncomingMessage): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const chunks: Buffer[] = [];
  let bytes = 0;
  const timer = setTimeout(() => reject(refuse('request_timeout', 'the body came too slowly')), BODY_TIMEOUT_MS);
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) reject(refuse('body_too_large', 'the body is larger than 64 KiB'));
    else chunks.push(chunk);
  });
  request.once('end', () => resolve(Buffer.concat(chunks)));
  request.once('error', (cause) => reject(new SidecarError('malformed', 'client_aborted', 'body cut off', { cause })));
  request.once('close', () => reject(refuse('client_aborted', 'the client went away')));
  return promise.finally(() => {
    clearTimeout(timer);
    request.removeAllListeners('data');
  });
}
