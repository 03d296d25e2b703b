// The admin port and socket: every request passes the same gates in the same order (browser guard, observation, operator,
// table, permission, input), then one handler of endpoints.ts. The one place that turns handlers' errors into answers.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type ErrorKind, SidecarError } from '../core/errors.ts';
import { requestId } from '../core/ids.ts';
import type { Reason } from '../core/reasons.ts';
import type { ListenerHandlers } from '../http/listener.ts';
import type { FieldProblem, ProblemDetails } from '../http/problem.ts';
import type { KeptAnswer } from '../stores/contracts/idempotency.ts';
import {
  type AuditedCall,
  auditAnswer,
  auditFailure,
  auditForbidden,
  auditRefused,
  requireAudit,
} from './audit-calls.ts';
import { foreignPage } from './browser-guard.ts';
import { certificateNames } from './client-certificate.ts';
import type { AdminDependencies } from './dependencies.ts';
import { ConfigRefused, type Endpoint, FieldsError, isCreation, validated } from './endpoint.ts';
import { findEndpoint, operationName } from './endpoints.ts';
import { fenced } from './fence.ts';
import { idempotencyKey, once } from './idempotency.ts';
import { serveObservation } from './observe.ts';
import { type Operator, socketOperator } from './operator-token.ts';
import { ifMatchOf } from './precondition.ts';
import { hasBody, readJsonBody } from './request-body.ts';
import { covers } from './roles.ts';
import { jsonText, sendJson, sendProblem } from './send.ts';

/** Where a request came in: over the Unix socket (same uid) no token is needed. */
export type AdminDoor = 'port' | 'socket';

/** Handlers of the admin port, or of the socket. */
export function adminHandlers(dependencies: AdminDependencies, door: AdminDoor): ListenerHandlers {
  const count = (status: number) => dependencies.metrics.adminRequests.labels(String(status)).inc();
  return {
    onRequest(request, response: ServerResponse, expectsContinue) {
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
  const operator = door === 'socket' ? socketOperator : await identify(exchange);
  if (typeof operator === 'string') return sendProblem(request, response, operator, id, retryAfter(operator));
  const [path, search] = splitTarget(request.url as string);
  const found = findEndpoint(request.method as string, path);
  if (found === undefined) return sendProblem(request, response, 'route_not_found', id);
  if ('unconfigured' in found) return sendProblem(request, response, 'not_configured', id);
  if ('allow' in found) return sendProblem(request, response, 'method_not_allowed', id, found);
  const { endpoint } = found;
  const audited = { requestId: id, operator, address: addressOf(exchange), endpoint };
  const forbidden = refusalOf(operator, endpoint);
  if (forbidden !== undefined) {
    await auditForbidden(dependencies, audited, forbidden);
    return sendProblem(request, response, forbidden, id);
  }
  await call(exchange, audited, found.path, search);
}

/** Nothing is confirmed before the audit event is durable. */
async function call(
  exchange: AdminExchange,
  audited: AuditedCall,
  path: Readonly<Record<string, string>>,
  search: string,
): Promise<void> {
  const { dependencies, request } = exchange;
  const measured = dependencies.metrics.adminSeconds.labels(operationName(audited.endpoint)).startTimer();
  exchange.response.once('close', () => measured());
  const { endpoint, requestId, operator, address } = audited;
  const handed = operator.tenant === undefined ? dependencies : fenced(dependencies, operator.tenant);
  try {
    await requireAudit(dependencies, endpoint);
    const query = validated(endpoint.query, queryOf(search));
    const ifMatch = ifMatchOf(request, endpoint);
    const key = isCreation(endpoint) ? idempotencyKey(request) : undefined;
    const { body, sent } = await readBody(exchange, endpoint);
    const make = async () => {
      const answer = await endpoint.handler(handed, { requestId, operator, address, path, query, body, ifMatch });
      await auditAnswer(dependencies, audited, answer);
      return { status: answer.status, etag: answer.etag, text: jsonText(answer.body) };
    };
    if (key === undefined) return sendAnswer(exchange, await make(), []);
    const identity = { operator: operator.id, method: endpoint.method, target: request.url as string, body: sent };
    const { answer, replayed } = await once(dependencies, key, identity, make);
    if (replayed) await auditAnswer(dependencies, audited, { status: answer.status });
    sendAnswer(exchange, answer, replayed ? ['Idempotency-Replayed', 'true'] : []);
  } catch (error) {
    await auditFailure(dependencies, audited, error);
    throw error;
  }
}

function sendAnswer(exchange: AdminExchange, { status, etag, text }: KeptAnswer, more: readonly string[]): void {
  const fields = etag === undefined ? more : ['ETag', `"${etag}"`, ...more];
  sendJson(exchange.request, exchange.response, status, text, exchange.id, fields);
}

const retryAfter = (reason: Reason): ProblemDetails => (reason === 'operator_failures' ? { retryAfter: 60 } : {});

/** The operator behind the Authorization field or the client certificate, or why there is none. */
async function identify(exchange: AdminExchange): Promise<Operator | Reason> {
  const { dependencies, request, id } = exchange;
  const fields = request.headersDistinct.authorization ?? [];
  const certificate = certificateNames(request.socket);
  if (fields.length === 0 && certificate.length === 0) return 'credential_missing';
  if (fields.length > 1) return 'header_malformed';
  const match = /^Bearer +([\x21-\x7e]{1,512})$/i.exec(fields[0] ?? '');
  const token = fields.length === 0 ? undefined : (match?.[1] ?? '');
  const address = addressOf(exchange);
  const checked = await dependencies.operators.check({ token, certificate }, address);
  if (checked === 'limited') return 'operator_failures';
  if (checked !== 'refused') return checked;
  await auditRefused(dependencies, id, address);
  return 'operator_token_refused';
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

/** Why the operator may not call the endpoint at all; undefined when it may. */
function refusalOf({ permissions, tenant }: Operator, { permission, reach }: Endpoint): Reason | undefined {
  if (!covers(permissions, [permission])) return 'operator_forbidden';
  return tenant !== undefined && reach !== 'tenant' ? 'tenant_exceeded' : undefined;
}

/** The body as the handler gets it, and as it was sent. */
async function readBody(
  { request, response, expectsContinue }: AdminExchange,
  { body: schema }: Endpoint,
): Promise<{ readonly body: unknown; readonly sent: unknown }> {
  if (!hasBody(request)) return { body: schema === undefined ? undefined : validated(schema, {}), sent: undefined };
  if (schema === undefined) throw new SidecarError('malformed', 'request_malformed', 'a body is not expected');
  const sent = await readJsonBody(request, response, expectsContinue);
  return { body: validated(schema, sent), sent };
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

/** Kinds whose message says what the operator can mend: which setting is missing, which store is away. */
const TOLD: ReadonlySet<ErrorKind> = new Set([
  'malformed',
  'not_found',
  'conflict',
  'misconfigured',
  'store_unavailable',
]);

function detailsOf(error: SidecarError): ProblemDetails {
  if (error instanceof FieldsError) return { errors: error.fields };
  if (error instanceof ConfigRefused) return { errors: error.problems.map(placedProblem) };
  return TOLD.has(error.kind) ? { detail: error.message } : {};
}

const placedProblem = ({ place, path, message, nearest }: ConfigRefused['problems'][number]): FieldProblem => ({
  path: path === '' ? place : `${place} ${path}`,
  problem: nearest === undefined ? message : `${message} (nearest name ${nearest})`,
});
