// Verdicts for fronts that only ask (end of design 4): they describe the request that they hold (verdict-description.ts), the
// same pipeline judges it, and the answer says yes or no. An allow carries every identity header, empty when absent, so that
// what a front copies can never be left over from the client.
import { type Reason, reasons } from '../core/reasons.ts';
import { findField } from '../http/headers.ts';
import { problem } from '../http/problem.ts';
import type { Ending, Exchange } from './exchange.ts';
import { type Answerer, writeRefusal } from './outbound/answer.ts';
import { corsFields } from './outbound/cors.ts';
import { limitFields } from './outbound/limit-fields.ts';
import { endsAuthorization } from './outbound/upstream-fields.ts';
import type { VerdictFlavour } from './verdict-description.ts';

/** What the front is told. */
export interface VerdictAnswer {
  readonly status: number;
  /** Flat array of names and values. */
  readonly fields: string[];
  readonly body: string;
}

/** The answer about a request that may pass. */
export function allowance(flavour: VerdictFlavour, exchange: Exchange): VerdictAnswer {
  const { generation, token } = exchange;
  const fields = ['Content-Length', '0', 'Cache-Control', 'no-store'];
  if (flavour === 'nginx') fields.push('X-Doorward-Status', '200');
  // Envoy takes away what is named here before it forwards, so the token ends at it as it would end at us.
  if (flavour === 'envoy' && endsAuthorization(exchange))
    fields.push('X-Envoy-Auth-Headers-To-Remove', 'authorization');
  const known = token === undefined ? [] : generation.identity(token).fields;
  for (const name of generation.identityNames) fields.push(name, findField(known, name.toLowerCase()) ?? '');
  fields.push('X-Request-Id', exchange.requestId);
  limitFields(exchange, 200, fields);
  return { status: 200, fields, body: '' };
}

/**
 * The answer about a request that may not. auth_request understands only 2xx, 401 and 403, so there the true status stands in
 * X-Doorward-Status and a shipped error_page recipe restores it; the other fronts hand the true answer to their client.
 */
export function refusal(flavour: VerdictFlavour, exchange: Exchange, reason: Reason): VerdictAnswer {
  const answer = problem(reason, exchange.requestId, exchange.generation.problemOptions, exchange.details);
  const { status, body } = answer;
  const fields = [...answer.headers];
  limitFields(exchange, status, fields);
  if (flavour !== 'nginx') {
    corsFields(exchange, fields);
    return { status, fields, body };
  }
  const code = (JSON.parse(body) as { code: string }).code;
  fields.push('X-Doorward-Status', String(status), 'X-Doorward-Code', code);
  return { status: status === 401 ? 401 : 403, fields, body };
}

/** How exchanges of one flavour end. */
export function verdictEnding(flavour: VerdictFlavour, answerer: Answerer): Ending {
  return {
    proceed(exchange) {
      const { status, fields } = allowance(flavour, exchange);
      exchange.response?.writeHead(status, fields).end();
      answerer.finished(exchange, status);
    },
    refuse(exchange, reason) {
      if (exchange.ended) return;
      const { status, fields, body } = refusal(flavour, exchange, reason);
      answerer.refused(exchange, reason, reasons[reason].status);
      const { request, response, expectsContinue } = exchange;
      if (response !== undefined) writeRefusal(request, response, status, fields, body, expectsContinue);
    },
  };
}
