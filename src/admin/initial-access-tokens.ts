// Initial access tokens (RFC 7591 section 3): who holds one may register a client at the public endpoint.
import { z } from 'zod';
import { randomId } from '../core/ids.ts';
import { mintPrefixedSecret, secretDigest } from '../core/prefixed-secret.ts';
import { parseDuration } from '../core/units.ts';
import { clientDeskOf } from './client-lookup.ts';
import { lifetime } from './client-shapes.ts';
import { endpoint, notFound } from './endpoint.ts';
import { pageFrom, pageQuery } from './pages.ts';
import { count, pageShape, time } from './shapes.ts';

const DEFAULT_LIFETIME = '24h';

const tokenShape = z.strictObject({
  id: z.string(),
  uses_left: count,
  created_at: time,
  created_by: z.string(),
  expires_at: time,
});

/** POST /v1/clients/initial-access-tokens: 201 with the token, which is shown nowhere else. */
export const addInitialToken = endpoint({
  method: 'POST',
  path: '/v1/clients/initial-access-tokens',
  permission: 'clients:write',
  event: 'client.initial_token_issued',
  body: z.strictObject({ uses: z.int().min(1).max(10_000).default(1), expires: lifetime.default(DEFAULT_LIFETIME) }),
  answers: { 201: tokenShape.extend({ token: z.string() }) },
  refusals: ['not_configured'],
  summary: 'Make an initial access token, which lets its bearer register clients; it is shown once.',
  handler: async (dependencies, { body, operator }) => {
    const token = mintPrefixedSecret('dwi');
    const createdAtMs = dependencies.clock.nowMs();
    const kept = {
      id: `it_${randomId()}`,
      digest: secretDigest(token),
      usesLeft: body.uses,
      createdAtMs,
      createdBy: operator.id,
      expiresAtMs: createdAtMs + (parseDuration(body.expires) as number),
    };
    await clientDeskOf(dependencies).initialTokens.add(kept);
    return {
      status: 201,
      body: { ...shown(kept), token },
      audit: { token_id: kept.id, uses: body.uses, expires: body.expires },
    };
  },
});

interface Shown {
  readonly id: string;
  readonly usesLeft: number;
  readonly createdAtMs: number;
  readonly createdBy: string;
  readonly expiresAtMs: number;
}

const shown = ({ id, usesLeft, createdAtMs, createdBy, expiresAtMs }: Shown) => ({
  id,
  uses_left: usesLeft,
  created_at: new Date(createdAtMs).toISOString(),
  created_by: createdBy,
  expires_at: new Date(expiresAtMs).toISOString(),
});

/** GET /v1/clients/initial-access-tokens: those that can still be used. */
export const listInitialTokens = endpoint({
  method: 'GET',
  path: '/v1/clients/initial-access-tokens',
  permission: 'clients:read',
  query: z.strictObject(pageQuery),
  answers: { 200: pageShape(tokenShape) },
  refusals: ['not_configured'],
  summary: 'Initial access tokens that can still be used, newest first, by cursor pages.',
  handler: async (dependencies, { query }) => {
    const { initialTokens } = clientDeskOf(dependencies);
    const nowMs = dependencies.clock.nowMs();
    const page = await pageFrom(
      (after, limit) => initialTokens.page(nowMs, after && { createdAtMs: after.atMs, id: after.id }, limit),
      ({ createdAtMs, id }) => ({ atMs: createdAtMs, id }),
      query,
    );
    return { status: 200, body: { ...page, items: page.items.map(shown) } };
  },
});

/** DELETE /v1/clients/initial-access-tokens/{id}: 204. */
export const removeInitialToken = endpoint({
  method: 'DELETE',
  path: '/v1/clients/initial-access-tokens/{id}',
  permission: 'clients:write',
  answers: { 204: null },
  refusals: ['not_configured'],
  summary: 'Withdraw an initial access token; clients that registered with it stay.',
  handler: async (dependencies, { path }) => {
    if (!(await clientDeskOf(dependencies).initialTokens.remove(path.id as string))) throw notFound('no such token');
    return { status: 204, audit: { token_id: path.id } };
  },
});
