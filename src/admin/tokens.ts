// Issuing and introspecting access tokens for operators (RFC 9068, RFC 7662). Signing is token/issue.ts, verifying
// token/verify.ts; here is only who may have what, and the shape of the answer.
import { z } from 'zod';
import { SidecarError } from '../core/errors.ts';
import type { Principal } from '../core/principal.ts';
import { formatDuration, parseDuration } from '../core/units.ts';
import type { AdminIssuer, TokenDesk } from './dependencies.ts';
import { type AdminAnswer, endpoint, FieldsError, notConfigured } from './endpoint.ts';
import { time } from './shapes.ts';

const text = () =>
  z
    .string()
    .min(1)
    .max(1024)
    .regex(/^[^\p{Cc}]*$/u, 'must not hold control characters');
const words = () =>
  z.array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/, 'needs words without spaces')).max(100);

const issueBody = z.strictObject({
  issuer: text().optional(),
  subject: text(),
  client: text(),
  scopes: words().optional(),
  roles: z.array(text()).max(100).optional(),
  tenant: text().optional(),
  session: text().optional(),
  audience: z.array(text()).min(1).max(20).optional(),
  lifetime: z
    .string()
    .refine((value) => (parseDuration(value) ?? 0) >= 1000, 'needs a duration of at least 1s, such as 15m')
    .optional(),
  claims: z.record(z.string(), z.unknown()).optional(),
});

/** POST /v1/tokens: 201 with the access token, which is shown nowhere else. */
export const issueToken = endpoint({
  method: 'POST',
  path: '/v1/tokens',
  permission: 'tokens:write',
  reach: 'tenant',
  event: 'token.issued',
  body: issueBody,
  answers: {
    201: z.strictObject({
      token: z.string(),
      token_type: z.literal('Bearer'),
      token_id: z.string(),
      issuer: z.string(),
      expires_at: time,
    }),
  },
  refusals: ['not_configured'],
  summary: 'Issue an access token of an issuer of ours.',
  handler: async ({ tokens, metrics, clock }, { body }) => {
    const { name, issuer, signer, maxLifetimeMs } = signingIssuer(tokens, body.issuer);
    const { issuer: _, lifetime, ...request } = body;
    const lifetimeMs = lifetime === undefined ? undefined : parseDuration(lifetime);
    if ((lifetimeMs ?? 0) > maxLifetimeMs) {
      const problem = `needs to be at most max_lifetime of the issuer (${formatDuration(maxLifetimeMs)})`;
      throw new FieldsError([{ path: 'lifetime', problem }]);
    }
    const startedMs = clock.monotonicMs();
    const issued = await signer
      .issueAccessToken({ ...withoutUndefined(request), ...(lifetimeMs === undefined ? {} : { lifetimeMs }) })
      .catch(refuseClaims);
    metrics.tokenSign.observe((clock.monotonicMs() - startedMs) / 1000);
    metrics.tokenOperations.labels('issue').inc();
    const answer = {
      token: issued.token,
      token_type: 'Bearer',
      token_id: issued.tokenId,
      issuer,
      expires_at: new Date(issued.expiresAtMs).toISOString(),
    };
    const { subject, client, tenant } = body;
    const audit = { issuer: name, token_id: issued.tokenId, subject, client, tenant };
    return { status: 201, body: answer, audit };
  },
});

type SigningIssuer = AdminIssuer & { readonly signer: NonNullable<AdminIssuer['signer']> };

function signingIssuer(tokens: TokenDesk, wanted: string | undefined): SigningIssuer {
  const ours = tokens.issuers().filter((issuer): issuer is SigningIssuer => issuer.signer !== undefined);
  if (ours.length === 0) throw notConfigured('no issuer block has `sign`, so no token can be issued');
  const found = wanted === undefined ? ours : ours.filter(({ name, issuer }) => name === wanted || issuer === wanted);
  if (found.length === 1) return found[0] as SigningIssuer;
  const names = ours.map(({ name }) => name).join(', ');
  throw new FieldsError([{ path: 'issuer', problem: `needs to be one of ${names}` }]);
}

function refuseClaims(error: unknown): never {
  if (!(error instanceof SidecarError) || error instanceof FieldsError || error.kind !== 'malformed') throw error;
  throw new FieldsError([{ path: 'claims', problem: error.message }]);
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };
const withoutUndefined = <T extends object>(value: T): Defined<T> =>
  Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as Defined<T>;

/** Answer for every token that is not active, whatever the reason: these bytes and no others (RFC 7662 section 2.2). */
const inactive: AdminAnswer = Object.freeze({ status: 200, body: Object.freeze({ active: false }) });

/** POST /v1/tokens/introspect: RFC 7662 over JSON. 503 when it cannot be known whether the token is active. */
export const introspectToken = endpoint({
  method: 'POST',
  path: '/v1/tokens/introspect',
  permission: 'tokens:read',
  reach: 'tenant',
  body: z.strictObject({ token: z.string().max(64 * 1024), token_type_hint: z.string().max(64).optional() }),
  answers: {
    200: z.union([
      z.strictObject({ active: z.literal(false) }),
      z.looseObject({
        active: z.literal(true),
        iss: z.string(),
        sub: z.string().optional(),
        client_id: z.string().optional(),
        scope: z.string(),
        roles: z.array(z.string()),
        tenant: z.string().optional(),
        jti: z.string(),
        token_type: z.literal('Bearer'),
        exp: z.int(),
        iat: z.int().optional(),
      }),
    ]),
  },
  refusals: ['revocations_unavailable', 'keys_unavailable'],
  summary: 'Whether a token is active, and what it says (RFC 7662).',
  handler: async ({ tokens, revocations, metrics }, { body }) => {
    metrics.tokenOperations.labels('introspect').inc();
    const principal = await verified(tokens, body.token);
    if (principal === undefined) return inactive;
    if (!revocations.isKnown()) {
      throw new SidecarError('store_unavailable', 'revocations_unavailable', 'revocations are not known');
    }
    if (revocations.refuses(principal) !== undefined || tokens.isDisabled(principal)) return inactive;
    return { status: 200, body: introspection(principal) };
  },
});

async function verified(tokens: TokenDesk, token: string): Promise<Principal | undefined> {
  try {
    return await tokens.verify(token);
  } catch (error) {
    if (error instanceof SidecarError && error.kind === 'unauthenticated') return undefined;
    throw error;
  }
}

/** Our own words last: no claim of a foreign issuer can say `active` or rename the subject. */
function introspection(principal: Principal): Record<string, unknown> {
  const { claims, issuer, subject, client, scopes, roles, tenant, tokenId, expiresAtMs, issuedAtMs } = principal;
  return {
    ...claims,
    active: true,
    iss: issuer,
    sub: subject,
    client_id: client,
    scope: scopes.join(' '),
    roles,
    tenant,
    jti: tokenId,
    token_type: 'Bearer',
    exp: Math.floor(expiresAtMs / 1000),
    iat: issuedAtMs === undefined ? undefined : Math.floor(issuedAtMs / 1000),
  };
}
