// The table of the admin API: every operation there is, in one place. What a row means is endpoint.ts, how rows are served
// server.ts.
import { z } from 'zod';
import { exportAudit, listAudit, verifyAuditLog } from './audit.ts';
import { addClientSecret, removeClientSecret } from './client-secrets.ts';
import { addClient, changeClient, listClients, removeClient, replaceClient, showClient } from './clients.ts';
import { mintCode } from './codes.ts';
import { reloadConfig, showConfig } from './config.ts';
import { resealFields, rotateDataKey, showDataKeys } from './data-keys.ts';
import { drain } from './drain.ts';
import { type Endpoint, endpoint } from './endpoint.ts';
import { explainRequest, findDecisions } from './explain.ts';
import { endGrant, endGrants, listGrants } from './grants.ts';
import { addInitialToken, listInitialTokens, removeInitialToken } from './initial-access-tokens.ts';
import { activateSigningKey, banSigningKey, listSigningKeys, retireSigningKey, rotateSigningKey } from './keys.ts';
import { resetLimit, showLimit } from './limits.ts';
import { apiDocument } from './openapi.ts';
import { addOperator, listOperators, removeOperator } from './operators.ts';
import { listRevocations, revoke, showRevocation, undoRevocation } from './revocations.ts';
import { cleanUp, showStatistics } from './statistics.ts';
import { showStatus } from './status.ts';
import { introspectToken, issueToken } from './tokens.ts';
import { listUpstreams } from './upstreams.ts';

/** GET /v1/openapi.json; it stands here because the document is about the table that it stands in. */
const describeApi = endpoint({
  method: 'GET',
  path: '/v1/openapi.json',
  permission: 'status:read',
  reach: 'tenant',
  answers: { 200: z.looseObject({ openapi: z.string(), paths: z.record(z.string(), z.unknown()) }) },
  summary: 'This API as an OpenAPI 3.1 document.',
  handler: ({ version }) => ({ status: 200, body: apiDocument(operations, version) }),
});

/** Every operation by its name, which is its `operationId`; paths are unique per method. */
export const operations: Readonly<Record<string, Endpoint>> = {
  issueToken,
  introspectToken,
  revoke,
  listRevocations,
  showRevocation,
  undoRevocation,
  mintCode,
  listGrants,
  endGrants,
  endGrant,
  showLimit,
  resetLimit,
  listSigningKeys,
  rotateSigningKey,
  activateSigningKey,
  retireSigningKey,
  banSigningKey,
  showDataKeys,
  rotateDataKey,
  resealFields,
  // Before those with an id: which one a path leads to is the first that fits.
  addInitialToken,
  listInitialTokens,
  removeInitialToken,
  addClient,
  listClients,
  showClient,
  replaceClient,
  changeClient,
  removeClient,
  addClientSecret,
  removeClientSecret,
  showConfig,
  reloadConfig,
  drain,
  explainRequest,
  findDecisions,
  addOperator,
  listOperators,
  removeOperator,
  listAudit,
  verifyAuditLog,
  exportAudit,
  showStatistics,
  cleanUp,
  listUpstreams,
  showStatus,
  describeApi,
};

const names = new Map(Object.entries(operations).map(([name, row]) => [row, name]));

/** The `operationId` of a row of the table. */
export const operationName = (row: Endpoint): string => names.get(row) as string;

/** Every endpoint. */
export const endpoints: readonly Endpoint[] = Object.values(operations);

/** First segments under /v1 that need the control plane's own database, which this sidecar is not configured with. */
export const unconfiguredRooms: ReadonlySet<string> = new Set([
  'clients',
  'keys',
  'data-keys',
  'users',
  'sessions',
  'devices',
  'providers',
  'lcts',
  'ledger',
]);

/** What a path leads to. */
export type Found =
  | { readonly endpoint: Endpoint; readonly path: Readonly<Record<string, string>> }
  | { readonly allow: string }
  | { readonly unconfigured: true }
  | undefined;

const compiled = endpoints.map((endpoint) => ({ endpoint, segments: endpoint.path.split('/') }));

/** Looks a path up. Segments are decoded after splitting, so an encoded slash stays inside its segment. */
export function findEndpoint(method: string, path: string): Found {
  const segments = path.split('/').map(decodeSegment);
  if (segments.includes(undefined)) return undefined;
  const at = compiled.flatMap(({ endpoint, segments: template }) => {
    const values = match(template, segments as string[]);
    return values === undefined ? [] : [{ endpoint, path: values }];
  });
  const asked = method === 'HEAD' ? 'GET' : method;
  const found = at.find(({ endpoint }) => endpoint.method === asked);
  if (found !== undefined) return found;
  if (at.length > 0) return { allow: allowedMethods(at.map(({ endpoint }) => endpoint.method)) };
  return segments[1] === 'v1' && unconfiguredRooms.has(segments[2] ?? '') ? { unconfigured: true } : undefined;
}

/** The value of `Allow`; GET brings HEAD along. */
export function allowedMethods(methods: readonly string[]): string {
  return methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', ');
}

function decodeSegment(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}

function match(template: readonly string[], segments: readonly string[]): Record<string, string> | undefined {
  if (template.length !== segments.length) return undefined;
  const values: Record<string, string> = {};
  for (const [at, part] of template.entries()) {
    const segment = segments[at] as string;
    if (!part.startsWith('{')) {
      if (part !== segment) return undefined;
    } else if (segment === '') return undefined;
    else values[part.slice(1, -1)] = segment;
  }
  return values;
}
