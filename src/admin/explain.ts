// Why a request would be, or was, decided as it was. The judging is the data plane's own pipeline, handed in; nothing is
// charged, sent or recorded.
import { z } from 'zod';
import type { Explanation, Question } from '../core/explanation.ts';
import { reasons } from '../core/reasons.ts';
import type { KeptDecision } from '../stores/contracts/decisions.ts';
import type { AdminDependencies } from './dependencies.ts';
import { endpoint, FieldsError } from './endpoint.ts';
import { listShape, reason } from './shapes.ts';

const fieldName = z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/, 'needs a header name');
const fieldValue = z
  .string()
  .max(16 * 1024)
  .regex(/^[\t\x20-\x7e\x80-\xff]*$/, 'needs printable characters');

const question = z.strictObject({
  method: z.string().regex(/^[A-Z]{1,32}$/, 'needs an upper-case method'),
  /** Absolute URL or a path. */
  url: z
    .string()
    .min(1)
    .max(16 * 1024)
    .regex(/^[\x21-\x7e]+$/, 'needs a URL or a path without spaces'),
  token: z
    .string()
    .min(1)
    .max(48 * 1024)
    .regex(/^[\x21-\x7e]+$/, 'needs a token')
    .optional(),
  peer: z.union([z.ipv4(), z.ipv6()], { error: 'needs an IP address' }).default('127.0.0.1'),
  /** As the verdict for a front. */
  verdict: z.enum(['nginx', 'forward', 'envoy']).optional(),
  headers: z
    .array(z.tuple([fieldName, fieldValue]))
    .max(200)
    .default([]),
});

const place = z.string().describe('`sidecar.yaml:14:40`, or the name of a variable, or `default`.');

const shownSetting = z.strictObject({
  setting: z.string(),
  value: z.string().optional(),
  from: z.enum(['file', 'environment', 'default']),
  at: place,
});

const shownUpstream = z.strictObject({
  name: z.string(),
  takes_requests: z.boolean(),
  endpoints: z.array(z.strictObject({ url: z.string(), address: z.string(), state: z.string() })),
});

const MASKED = new Set(['authorization', 'cookie', 'proxy-authorization']);

/** POST /v1/explain: the verdict on a request that is described and not sent. */
export const explainRequest = endpoint({
  method: 'POST',
  path: '/v1/explain',
  permission: 'explain:read',
  body: question,
  answers: {
    200: z.strictObject({
      allowed: z.boolean(),
      reason,
      stage: z.string(),
      route: z.string().optional(),
      route_at: place.optional(),
      rule: z.string().optional(),
      rule_at: place.optional(),
      config: z.string().describe('First 12 digits of the hash of the configuration.'),
      client_address: z.string(),
      subject: z.string().optional(),
      client: z.string().optional(),
      limits: z.array(
        z.strictObject({
          limit: z.string(),
          remaining: z.number(),
          reset_ms: z.number(),
          local_share: z.number().optional(),
          under_way: z.number().optional(),
        }),
      ),
      settings: z
        .array(shownSetting)
        .describe('What of the route, its issuers and limits decided, and where it stands.'),
      upstream: shownUpstream.optional(),
      upstream_headers: z.array(z.tuple([z.string(), z.string()])),
      answer: z.strictObject({ status: z.int(), headers: z.array(z.tuple([z.string(), z.string()])) }).optional(),
      status: z.int(),
      code: z.string(),
      remedy: z.string(),
    }),
  },
  summary: 'What would happen to a request, and why.',
  handler: async (dependencies, { body }) => {
    const explanation = await dependencies.explain(questionOf(body));
    const stands = await behind(dependencies, explanation);
    const { status, code, remedy } = reasons[explanation.reason];
    const headers = maskedPairs(explanation.upstream_headers, body.token);
    const answer = explanation.answer && {
      status: explanation.answer.status,
      headers: maskedPairs(explanation.answer.headers, body.token),
    };
    const shown = { ...explanation, ...stands, status, code, remedy, upstream_headers: headers, answer };
    return { status: 200, body: shown };
  },
});

/** What the configuration in force says about it, and how the upstream of the route does. */
async function behind({ config, upstreams }: AdminDependencies, explanation: Explanation) {
  const limits = explanation.limits.map(({ limit }) => limit);
  const found = config.behind({ ...explanation, limits: [...new Set(limits)] });
  if (found === undefined) return { settings: [] };
  const row = (await upstreams()).find(({ name }) => name === found.upstream);
  const upstream = row && {
    name: row.name,
    takes_requests: row.takes_requests,
    endpoints: row.endpoints.map(({ url, address, state }) => ({ url, address, state })),
  };
  return { ...found, upstream };
}

function questionOf(body: z.output<typeof question>): Question {
  const { target, host } = splitUrl(body.url);
  const fields = body.headers.flat();
  if (body.token !== undefined) fields.push('Authorization', `Bearer ${body.token}`);
  return { method: body.method, target, host, peer: body.peer, fields, verdict: body.verdict };
}

/** Splits by text and not by URL, which would tidy up exactly the oddities that are asked about. */
function splitUrl(url: string): Pick<Question, 'target' | 'host'> {
  if (url.startsWith('/')) return { target: url, host: 'localhost' };
  const match = /^https?:\/\/([^/?#]+)(.*)$/i.exec(url);
  if (match === null) throw new FieldsError([{ path: 'url', problem: 'needs to start with / or http:// or https://' }]);
  const rest = match[2] as string;
  return { host: match[1] as string, target: rest.startsWith('/') ? rest : `/${rest}` };
}

/** The operator's own token would come back with `forward_token`; answers are pasted into tickets, so it does not. */
function maskedPairs(flat: readonly string[], token: string | undefined): (readonly [string, string])[] {
  const pairs: (readonly [string, string])[] = [];
  for (let at = 0; at < flat.length; at += 2) {
    const [name, value] = [flat[at] as string, flat[at + 1] as string];
    const secret = MASKED.has(name.toLowerCase()) || (token !== undefined && value.includes(token));
    pairs.push([name, secret ? '[secret]' : value]);
  }
  return pairs;
}

const word = z.string().min(1).max(256);

/** GET /v1/decisions: kept refusals, newest first, each with its remedy. */
export const findDecisions = endpoint({
  method: 'GET',
  path: '/v1/decisions',
  permission: 'decisions:read',
  query: z.strictObject({
    request_id: word.optional(),
    outcome: z.enum(['allow', 'deny']).optional(),
    reason: word.optional(),
    route: word.optional(),
    limit: z
      .string()
      .regex(/^[1-9]\d{0,2}$/, 'needs a number from 1 to 999')
      .transform(Number)
      .default(50),
  }),
  answers: {
    200: listShape(
      z.looseObject({
        request_id: z.string(),
        outcome: z.enum(['allow', 'deny']),
        reason,
        remedy: z.string().optional(),
        rule_at: place.optional(),
        route_at: place.optional(),
      }),
    ),
  },
  summary: 'Kept refusals by request id, outcome, reason or route.',
  handler: async ({ decisions, config }, { query }) => {
    const { limit, ...wanted } = query;
    const filter = Object.fromEntries(Object.entries(wanted).filter((pair): pair is [string, string] => !!pair[1]));
    const items = await decisions.find(filter, limit);
    const shown = items.map((item) => ({ ...item, remedy: remedyOf(item.reason), ...placesOf(config, item) }));
    return { status: 200, body: { items: shown } };
  },
});

const text = (value: unknown) => (typeof value === 'string' ? value : undefined);

/** Nothing for a decision of an earlier configuration: its lines are not those of the file as it is now. */
function placesOf({ behind }: AdminDependencies['config'], decision: KeptDecision) {
  const { config, route, rule } = decision;
  const found = behind({ config: text(config), route: text(route), rule: text(rule), limits: [] });
  return { rule_at: found?.rule_at, route_at: found?.route_at };
}

function remedyOf(reason: unknown): string | undefined {
  return typeof reason === 'string' && Object.hasOwn(reasons, reason)
    ? reasons[reason as keyof typeof reasons].remedy
    : undefined;
}
