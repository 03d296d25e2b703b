// The admin port and socket: every request passes the same gates in the same order (browser guard, observation, operator,
// table, permission, input), then one handler of endpoints.ts. The one place that turns handlers' errors into answers.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { SidecarError } from '../core/errors.ts';
import { requestId } from '../core/ids.ts';
import type { Reason } from '../core/reasons.ts';
import type { ListenerHandlers } from '../http/listener.ts';
import type { FieldProblem, ProblemDetails } from '../http/problem.ts';
import { foreignPage } from './browser-guard.ts';
import type { AdminDependencies } from './dependencies.ts';
import { type AdminAnswer, type AdminCall, ConfigRefused, type Endpoint, FieldsError, validated } from './endpoint.ts';
import { findEndpoint } from './endpoints.ts';
import { serveObservation } from './observe.ts';
import { type Operator, socketOperator } from './operator-token.ts';
import { hasBody, readJsonBody } from './request-body.ts';
import { sendJson, sendProblem } from './send.ts';

/** Where a request came in: over the Unix socket (same uid) no token is needed. */
export type AdminDoor = 'port' | 'socket';

/** Handlers of the admin port, or of the socket. */
export function adminHandlers(dependencies: AdminDependencies, door: AdminDoor): ListenerHandlers {
  const count = (status: number) => dependencies.metrics.adminRequests.labels(String(status)).inc();
  return {
    onRequest(request, response, expectsContinue) {
      const exchange: AdminExchange = { dependencies, door, request, response, expectsContinue, id: requestId() };
      response.once('finish', () => count(response.statusCode));
      serve(exchange).catch((error) => answerError(exchange, error));
    },
  };
}

interface AdminExchange {
  readonly dependencies: AdminDependencies;
  readonly door: AdminDoor;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly expectsContinue: boolean;
  readonly id: string;
}

async function serve(exchange: AdminExchange): Promise<void> {
  const { dependencies, door, request, response, id } = exchange;
  const foreign = door === 'port' ? foreignPage(request, dependencies.hostNames) : undefined;
  if (foreign !== undefined) return sendProblem(request, response, foreign, id);
  if (serveObservation(dependencies, request, response, id)) return;
  const operator = door === 'socket' ? socketOperator : identify(exchange);
  if (typeof operator === 'string') return sendProblem(request, response, operator, id, retryAfter(operator));
  const [path, search] = splitTarget(request.url as string);
  const found = findEndpoint(request.method as string, path);
  if (found === undefined) return sendProblem(request, response, 'route_not_found', id);
  if ('unconfigured' in found) return sendProblem(request, response, 'not_configured', id);
  if ('allow' in found) return sendProblem(request, response, 'method_not_allowed', id, found);
  if (!isPermitted(operator, found.endpoint)) return sendProblem(request, response, 'operator_forbidden', id);
  const query = validated(found.endpoint.query, queryOf(search));
  const body = await readBody(exchange, found.endpoint);
  const call = { requestId: id, operator, address: addressOf(exchange), path: found.path, query, body };
  const answer = await found.endpoint.handler(dependencies, call);
  audit(exchange, found.endpoint, call, answer);
  sendJson(request, response, answer.status, answer.body, id);
}

const retryAfter = (reason: Reason): ProblemDetails => (reason === 'operator_failures' ? { retryAfter: 60 } : {});

/** The operator behind the Authorization field, or why there is none. */
function identify(exchange: AdminExchange): Operator | Reason {
  const fields = exchange.request.headersDistinct.authorization ?? [];
  if (fields.length === 0) return 'credential_missing';
  if (fields.length > 1) return 'header_malformed';
  const match = /^Bearer +([\x21-\x7e]{1,512})$/i.exec(fields[0] as string);
  const checked = exchange.dependencies.operators.check(match?.[1] ?? '', addressOf(exchange));
  if (checked === 'limited') return 'operator_failures';
  return checked === 'refused' ? 'operator_token_refused' : checked;
}

const addressOf = ({ door, request }: AdminExchange) =>
  door === 'socket' ? 'socket' : (request.socket.remoteAddress ?? '');

function splitTarget(target: string): [string, string] {
  const at = target.indexOf('?');
  return at < 0 ? [target, ''] : [target.slice(0, at), target.slice(at + 1)];
}

/** A repeated parameter is refused: which one counts would be anybody's guess. */
function queryOf(search: string): Record<string, string> {
  const query: Record<string, string> = Object.create(null);
  for (const [name, value] of new URLSearchParams(search)) {
    if (name in query) throw new FieldsError([{ path: name, problem: 'is given twice' }]);
    query[name] = value;
  }
  return { ...query };
}

function isPermitted({ permissions }: Operator, { permission }: Endpoint): boolean {
  return permissions.includes('*') || permissions.includes(permission);
}

async function readBody({ request, response, expectsContinue }: AdminExchange, endpoint: Endpoint): Promise<unknown> {
  if (!hasBody(request)) return endpoint.body === undefined ? undefined : validated(endpoint.body, {});
  if (endpoint.body === undefined) throw new SidecarError('malformed', 'request_malformed', 'a body is not expected');
  return validated(endpoint.body, await readJsonBody(request, response, expectsContinue));
}

/** One line for every change that was made: who, what, from where, under which request id. */
function audit({ dependencies, id }: AdminExchange, endpoint: Endpoint, call: AdminCall, answer: AdminAnswer): void {
  if (answer.audit === undefined) return;
  const { operator, address } = call;
  const what = `${endpoint.method} ${endpoint.path}`;
  dependencies.log.info(
    { who: operator.id, what, from: address, request_id: id, status: answer.status, details: answer.audit },
    'audit',
  );
}

function answerError({ dependencies, request, response, id }: AdminExchange, error: unknown): void {
  if (error instanceof SidecarError) {
    if (error.kind === 'store_unavailable') dependencies.log.warn({ err: error, request_id: id }, 'admin_store_away');
    sendProblem(request, response, error.reason, id, detailsOf(error));
    return;
  }
  dependencies.log.error({ err: error, request_id: id }, 'admin_defect');
  sendProblem(request, response, 'internal', id);
}

function detailsOf(error: SidecarError): ProblemDetails {
  if (error instanceof FieldsError) return { errors: error.fields };
  if (error instanceof ConfigRefused) return { errors: error.problems.map(placedProblem) };
  return error.kind === 'malformed' || error.kind === 'not_found' ? { detail: error.message } : {};
}

const placedProblem = ({ place, path, message, nearest }: ConfigRefused['problems'][number]): FieldProblem => ({
  path: path === '' ? place : `${place} ${path}`,
  problem: nearest === undefined ? message : `${message} (nearest name ${nearest})`,
});
