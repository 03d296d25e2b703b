// The OpenAPI 3.1 document of the admin API, made from the table of operations and the very schemas that validate, so that
// it cannot say anything else than the program does. Served at /v1/openapi.json; docs/api.md is made from it.
import { z } from 'zod';
import { type Reason, reasons } from '../core/reasons.ts';
import { type Endpoint, isCreation } from './endpoint.ts';
import { reason } from './shapes.ts';

/** Any JSON value of the document. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

/** A JSON object of the document. */
export type JsonObject = { readonly [name: string]: Json };

/** What every refusal may look like (RFC 9457). */
const problemShape = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  code: z.string().describe('One stable word; the reasons behind it are in docs/reasons.md.'),
  request_id: z.string(),
  detail: z.string().optional(),
  errors: z.array(z.strictObject({ path: z.string(), problem: z.string() })).optional(),
  reason: reason.optional(),
});

/** Refusals that any endpoint may answer. */
const ANY: readonly Reason[] = [
  'credential_missing',
  'operator_token_refused',
  'operator_forbidden',
  'tenant_exceeded',
  'operator_failures',
  'host_malformed',
  'host_refused',
  'origin_refused',
  'header_malformed',
  'request_malformed',
  'fields_invalid',
  'precondition_failed',
  'store_unavailable',
  'internal',
];

/** The document. `version` is the program's. */
export function apiDocument(operations: Readonly<Record<string, Endpoint>>, version: string): JsonObject {
  const paths: Record<string, Record<string, Json>> = {};
  for (const [operationId, row] of Object.entries(operations)) {
    paths[row.path] ??= {};
    (paths[row.path] as Record<string, Json>)[row.method.toLowerCase()] = operation(operationId, row);
  }
  const rooms = [...new Set(Object.values(operations).map(roomOf))];
  return {
    openapi: '3.1.0',
    info: {
      title: 'Doorward admin API',
      version,
      description: MANNERS,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    security: [{ operatorToken: [] }, { clientCertificate: [] }],
    tags: rooms.map((name) => ({ name })),
    paths,
    components: {
      securitySchemes: {
        operatorToken: {
          type: 'http',
          scheme: 'bearer',
          description: 'A token of an operator, shown once when it is added.',
        },
        clientCertificate: {
          type: 'mutualTLS',
          description: 'A client certificate that an operator is registered under.',
        },
      },
      schemas: { Problem: schemaOf(problemShape, 'output') },
      headers: {
        RequestId: {
          description: 'Names the call in the log and in the audit log.',
          required: true,
          schema: { type: 'string' },
        },
        ETag: { description: 'Version of the thing in the body, for If-Match.', schema: { type: 'string' } },
        Replayed: { description: '`true`: the answer of an earlier call with this key.', schema: { type: 'string' } },
      },
    },
  };
}

const MANNERS = [
  'Bodies are strict JSON in UTF-8, at most 64 KiB; unknown fields and parameters are 422, syntax is 400. Refusals are',
  'application/problem+json with a stable `code`. Lists come in pages: `next` of one is `cursor` of the following.',
  'Creations take Idempotency-Key. HEAD is answered wherever GET is. Over the Unix socket no token is needed.',
].join(' ');

/** The noun of a path: `/v1/keys/{kid}` is about keys. */
const roomOf = ({ path }: Endpoint) => (path.split('/')[2] as string).replace('.json', '');

function operation(operationId: string, row: Endpoint): JsonObject {
  const body = row.bodyForms ?? row.body;
  return {
    operationId,
    summary: row.summary,
    tags: [roomOf(row)],
    parameters: parametersOf(row),
    ...(body && {
      requestBody: {
        required: row.body?.safeParse({}).success !== true,
        content: { 'application/json': { schema: schemaOf(body, 'input') } },
      },
    }),
    responses: { ...successes(row), ...refusals(row) },
    'x-permission': row.permission,
    ...(row.reach === 'tenant' && { 'x-tenant-operators': true }),
    ...(row.event && { 'x-audit-event': row.event }),
  };
}

function parametersOf(row: Endpoint): readonly JsonObject[] {
  const path = [...row.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name: name as string,
    in: 'path',
    required: true,
    schema: { type: 'string', minLength: 1 },
  }));
  const { properties = {}, required = [] } = row.query === undefined ? {} : schemaOf(row.query, 'input');
  const query = Object.entries(properties as JsonObject).map(([name, schema]) => ({
    name,
    in: 'query',
    required: (required as readonly string[]).includes(name),
    schema,
  }));
  const header = (name: string, description: string, pattern: string) => ({
    name,
    in: 'header',
    required: false,
    description,
    schema: { type: 'string', pattern },
  });
  return [
    ...path,
    ...query,
    ...(isCreation(row) ? [header('Idempotency-Key', IDEMPOTENCY, '^[!-~]{1,255}$')] : []),
    ...(row.versioned ? [header('If-Match', IF_MATCH, '^(\\*|"[!#-~]{1,128}")$')] : []),
  ];
}

const IDEMPOTENCY =
  'Repeating the call with the same key and body within 24 hours gives the first answer and makes nothing.';
const IF_MATCH = 'The ETag of the version that is meant; 412 when it is another by now.';

function successes(row: Endpoint): JsonObject {
  const replayed = isCreation(row) ? { 'Idempotency-Replayed': { $ref: '#/components/headers/Replayed' } } : {};
  const etag = row.versioned ? { ETag: { $ref: '#/components/headers/ETag' } } : {};
  const headers = { 'X-Request-Id': { $ref: '#/components/headers/RequestId' }, ...etag, ...replayed };
  return Object.fromEntries(
    Object.entries(row.answers).map(([status, shape]) => [
      status,
      {
        description: DESCRIPTIONS[status] ?? 'Done.',
        headers,
        ...(shape && { content: { 'application/json': { schema: schemaOf(shape, 'output') } } }),
      },
    ]),
  );
}

const DESCRIPTIONS: Readonly<Record<string, string>> = {
  200: 'Done.',
  201: 'Made.',
  202: 'Begun, and goes on.',
  204: 'Done; there is nothing to say.',
};

/** Every reason with which the endpoint may refuse: what follows from the row, and the row's own. */
export function refusalsOf(row: Endpoint): readonly Reason[] {
  const { path, permission, body, refusals = [] } = row;
  return [
    ...new Set<Reason>([
      ...ANY,
      ...(path.includes('{') ? (['resource_not_found'] as const) : []),
      ...(body === undefined ? [] : (['media_type_unsupported', 'body_too_large', 'request_timeout'] as const)),
      ...(permission.endsWith(':write') ? (['audit_unavailable'] as const) : []),
      ...(isCreation(row) ? (['idempotency_mismatch', 'idempotency_busy'] as const) : []),
      ...refusals,
    ]),
  ];
}

function refusals(row: Endpoint): JsonObject {
  const byStatus = Map.groupBy(refusalsOf(row), (name) => String(reasons[name].status));
  return Object.fromEntries(
    [...byStatus].map(([status, names]) => [
      status,
      {
        description: `${reasons[names[0] as Reason].title}: ${names.join(', ')}.`,
        headers: { 'X-Request-Id': { $ref: '#/components/headers/RequestId' } },
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
        'x-codes': [...new Set(names.map((name) => reasons[name].code))],
      },
    ]),
  );
}

/** JSON Schema 2020-12 of a schema, without what only restates a format or the range of exact numbers. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output'): JsonObject {
  const { $schema: _, ...made } = z.toJSONSchema(schema, {
    io,
    override: ({ jsonSchema }) => {
      if (jsonSchema.format !== undefined) delete jsonSchema.pattern;
      if (jsonSchema.type === 'integer') {
        delete jsonSchema.pattern;
        if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
        if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
      }
    },
  });
  return made as JsonObject;
}
