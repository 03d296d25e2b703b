// Verdicts for those who only ask (end of design 4): nginx auth_request sends a subrequest that describes the request it
// holds; we run the same pipeline over the description and answer yes or no. The description is believed from trusted peers
// only; anybody else is judged by the request that was really sent (attack 43).
import type { IncomingMessage } from 'node:http';
import type { Reason } from '../core/reasons.ts';
import { findField } from '../http/headers.ts';
import { problem } from '../http/problem.ts';
import type { Ending, Exchange } from './exchange.ts';
import type { Answerer } from './outbound/answer.ts';
import { limitFields } from './outbound/limit-fields.ts';

const ABSOLUTE_URL = /^https?:\/\/([^/?#]+)(\/[^#]*)?$/i;
/** Fields with which nginx describes the request; never part of it. */
const DESCRIPTION = /^x-original-(?:url|uri|method|host)$/i;
const BODY_FIELDS = /^(?:content-length|transfer-encoding|expect)$/i;

/** The endpoints below `<reserved_prefix>/verdict/` that exist. */
export type VerdictFlavour = 'nginx';

/**
 * Puts the described request in the place of the sent one. Returns a reason when a trusted peer describes it badly. From an
 * untrusted peer nothing is taken, so the verdict path itself is judged, which no route matches.
 *
 * A field that the proxy does not set itself comes through from its client. So the method must be there, and a URL beside
 * a URI must say the same: whoever added the other one would choose what is judged.
 */
export function describe(exchange: Exchange): Reason | undefined {
  const { peer, rawFields } = exchange;
  if (!peer.trusted) return undefined;
  for (const name of ['x-original-url', 'x-original-uri', 'x-original-method']) {
    if (countField(rawFields, name) > 1) return 'forwarded_malformed';
  }
  const method = findField(rawFields, 'x-original-method');
  const url = findField(rawFields, 'x-original-url');
  const uri = findField(rawFields, 'x-original-uri');
  const absolute = url === undefined ? undefined : ABSOLUTE_URL.exec(url);
  if (absolute === null) return 'forwarded_malformed';
  const fromUrl = absolute && (absolute[2] ?? '/');
  const target = uri ?? fromUrl;
  if (target === undefined || method === undefined) return 'forwarded_malformed';
  if (fromUrl !== undefined && fromUrl !== target) return 'forwarded_malformed';
  exchange.rawTarget = target;
  exchange.method = method;
  exchange.rawFields = describedFields(rawFields, absolute?.[1]);
  return undefined;
}

function countField(raw: readonly string[], name: string): number {
  let count = 0;
  for (let at = 0; at < raw.length; at += 2) if ((raw[at] as string).toLowerCase() === name) count += 1;
  return count;
}

function describedFields(raw: readonly string[], host: string | undefined): readonly string[] {
  const described: string[] = [];
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at] as string;
    if (DESCRIPTION.test(name) || BODY_FIELDS.test(name)) continue;
    const isHost = host !== undefined && name.toLowerCase() === 'host';
    described.push(name, isHost ? host : (raw[at + 1] as string));
  }
  return described;
}

/**
 * The ending for nginx: auth_request understands only 2xx, 401 and 403, so the true status stands in X-Doorward-Status and
 * a shipped error_page recipe restores it. An allow carries every identity header, empty when absent, so that the values
 * nginx copies can never be left over from the client.
 */
export function nginxVerdict(answerer: Answerer): Ending {
  return {
    proceed(exchange) {
      const { generation, response, token } = exchange;
      const fields = ['Content-Length', '0', 'Cache-Control', 'no-store', 'X-Doorward-Status', '200'];
      const known = token === undefined ? [] : generation.identity(token).fields;
      for (const name of generation.identityNames) {
        const at = known.indexOf(name);
        fields.push(name, at >= 0 && at % 2 === 0 ? (known[at + 1] as string) : '');
      }
      fields.push('X-Request-Id', exchange.requestId);
      limitFields(exchange, 200, fields);
      response?.writeHead(200, fields).end();
      answerer.finished(exchange, 200);
    },
    refuse(exchange, reason) {
      const answer = problem(reason, exchange.requestId, exchange.generation.problemOptions, exchange.details);
      const code = (JSON.parse(answer.body) as { code: string }).code;
      const fields = [...answer.headers, 'X-Doorward-Status', String(answer.status), 'X-Doorward-Code', code];
      limitFields(exchange, answer.status, fields);
      const status = answer.status === 401 ? 401 : 403;
      const { response, request } = exchange;
      exchange.details ??= {};
      answerer.refused(exchange, reason, answer.status);
      if (response !== undefined) endVerdict(request, response, status, fields, answer.body);
    },
  };
}

function endVerdict(
  request: IncomingMessage,
  response: NonNullable<Exchange['response']>,
  status: number,
  fields: string[],
  body: string,
): void {
  response.writeHead(status, fields).end(body);
  request.resume();
}
