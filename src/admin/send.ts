// Bytes of admin answers: JSON, text and problem documents, always no-store and never with CORS fields. A refusal with an
// unread body closes the connection, after a bounded read so that the client gets to see it.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Reason } from '../core/reasons.ts';
import { type ProblemDetails, problem } from '../http/problem.ts';

const REALM = { realm: 'doorward-admin', showReason: false };
const LINGER_BYTES = 64 * 1024;
const LINGER_MS = 1000;

/** Bytes of a JSON answer; undefined for an empty one. */
export const jsonText = (body: unknown): string | undefined =>
  body === undefined ? undefined : `${JSON.stringify(body)}\n`;

/** Sends JSON as {@link jsonText} makes it; `fields` is a flat list of further names and values. */
export function sendJson(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  text: string | undefined,
  id: string,
  fields: readonly string[] = [],
): void {
  send(request, response, status, ['Content-Type', 'application/json'], text, id, fields);
}

/** Sends text under the given media type. */
export function sendText(
  request: IncomingMessage,
  response: ServerResponse,
  type: string,
  text: string,
  id: string,
): void {
  send(request, response, 200, ['Content-Type', type], text, id);
}

function send(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  type: readonly string[],
  text: string | undefined,
  id: string,
  fields: readonly string[] = [],
): void {
  if (response.headersSent || response.destroyed) return;
  const length = text === undefined ? [] : [...type, 'Content-Length', String(Buffer.byteLength(text))];
  const always = ['Cache-Control', 'no-store', 'X-Content-Type-Options', 'nosniff', 'X-Request-Id', id];
  response.writeHead(status, [...length, ...fields, ...always, ...closing(request)]).end(text);
  linger(request);
}

/** Sends the problem document of a reason. */
export function sendProblem(
  request: IncomingMessage,
  response: ServerResponse,
  reason: Reason,
  id: string,
  details: ProblemDetails = {},
): void {
  if (response.headersSent || response.destroyed) return;
  const answer = problem(reason, id, REALM, details);
  response.writeHead(answer.status, [...answer.headers, ...closing(request)]).end(answer.body);
  linger(request);
}

const closing = (request: IncomingMessage): readonly string[] => (request.complete ? [] : ['Connection', 'close']);

/** Closing with unread bytes resets the connection, and the client would lose our answer. */
function linger(request: IncomingMessage): void {
  if (request.complete) return;
  let bytes = 0;
  const timer = setTimeout(() => request.socket.destroy(), LINGER_MS);
  timer.unref();
  request.once('close', () => clearTimeout(timer));
  request.on('error', () => undefined);
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > LINGER_BYTES) request.socket.destroy();
  });
}
