// Bytes of answers of the public endpoints. Nothing is cached unless the answer says so, and a refusal with an unread body
// closes the connection after a bounded read, so that the caller gets to see it.

import type { IncomingMessage } from 'node:http';
import type { ClientResponse } from '../../http/client-response.ts';
import type { OAuthError } from './errors.ts';

/** An answer; `body` undefined is an empty one, a string is sent as it is, anything else as JSON. */
export interface OAuthAnswer {
  readonly status: number;
  readonly body?: unknown;
  /** Names and values in turn; what is not said here is no-store. */
  readonly headers?: readonly string[];
}

/** Fields of an answer that nobody may keep. */
export const NO_STORE: readonly string[] = ['Cache-Control', 'no-store', 'Pragma', 'no-cache'];
const LINGER_BYTES = 64 * 1024;
const LINGER_MS = 1000;

/** Sends it. */
export function sendAnswer(request: IncomingMessage, response: ClientResponse, answer: OAuthAnswer, id: string): void {
  if (response.headersSent || response.destroyed) return;
  const { status, body, headers = NO_STORE } = answer;
  const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
  const typed = headers.includes('Content-Type') || text === '' ? [] : ['Content-Type', 'application/json'];
  const always = ['X-Content-Type-Options', 'nosniff', 'X-Request-Id', id];
  const length = status === 304 || status === 204 ? [] : ['Content-Length', String(Buffer.byteLength(text))];
  response.writeHead(status, [...typed, ...length, ...headers, ...always, ...closing(request)]);
  response.end(request.method === 'HEAD' ? '' : text);
  linger(request);
}

/** The answer that a refusal means (RFC 6749 section 5.2). */
export function refusalOf({ code, message, status, options }: OAuthError): OAuthAnswer {
  const { challenge, retryAfter, allow } = options;
  return {
    status,
    body: { error: code, error_description: message },
    headers: [
      ...NO_STORE,
      ...(challenge === undefined ? [] : ['WWW-Authenticate', challenge]),
      ...(retryAfter === undefined ? [] : ['Retry-After', String(retryAfter)]),
      ...(allow === undefined ? [] : ['Allow', allow]),
    ],
  };
}

const closing = (request: IncomingMessage): readonly string[] => (request.complete ? [] : ['Connection', 'close']);

/** Closing with unread bytes resets the connection, and the caller would lose our answer. */
function linger(request: IncomingMessage): void {
  if (request.complete) return;
  let bytes = 0;
  const timer = setTimeout(() => request.destroy(), LINGER_MS).unref();
  request.once('close', () => clearTimeout(timer));
  request.on('error', () => undefined);
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > LINGER_BYTES) request.destroy();
  });
}
