// Authorization codes for applications that log people in themselves. The code goes to the client's redirect URI; what it is
// worth there is decided by identity/oauth.
import { z } from 'zod';
import { endpoint, FieldsError, notConfigured } from './endpoint.ts';
import { time } from './shapes.ts';

const text = () =>
  z
    .string()
    .min(1)
    .max(1024)
    .regex(/^[^\p{Cc}]*$/u, 'must not hold control characters');
const words = () =>
  z.array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/, 'needs words without spaces')).max(100);

/** Claims that say what a token is, and not who the person is. */
const OURS = new Set([
  'iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti', 'client_id', 'azp', 'scope', 'scp', 'cnf', 'act', 'may_act', 'nonce',
  'at_hash', 'c_hash', 'family', 'sid', 'auth_time', '__proto__',
]); // biome-ignore format: one list reads better

const codeBody = z.strictObject({
  client_id: text(),
  redirect_uri: z.string().min(1).max(2000),
  /** Who has been authenticated. */
  subject: text(),
  /** Default: all that the client may have. */
  scopes: words().optional(),
  code_challenge: z.string().max(128),
  /** RFC 7636; `plain` is refused. */
  code_challenge_method: z.literal('S256'),
  nonce: text().optional(),
  session: text().optional(),
  tenant: text().optional(),
  roles: z.array(text()).max(100).optional(),
  audience: z.array(text()).min(1).max(20).optional(),
  /** When the person was authenticated. */
  auth_time: z.iso.datetime({ offset: true, error: 'needs a time such as 2026-05-01T12:00:00Z' }).optional(),
  /** What ID token and userinfo say about the person. */
  claims: z
    .record(z.string().max(128), z.unknown())
    .refine((claims) => Object.keys(claims).every((name) => !OURS.has(name)), 'has one that cannot be asked for')
    .refine((claims) => JSON.stringify(claims).length <= 8192, 'is longer than 8 KiB')
    .optional(),
});

/** POST /v1/codes: 201 with the code, which is shown nowhere else. */
export const mintCode = endpoint({
  method: 'POST',
  path: '/v1/codes',
  permission: 'grants:write',
  reach: 'tenant',
  event: 'code.minted',
  body: codeBody,
  answers: { 201: z.strictObject({ code: z.string(), expires_at: time, scopes: z.array(z.string()) }) },
  refusals: ['not_configured'],
  summary: 'Mint an authorization code for a person whom the caller has authenticated.',
  handler: async ({ grants }, { body }) => {
    if (grants === undefined) throw notConfigured('codes need `postgres` and `proxy.endpoints.oauth` in sidecar.yaml');
    const { auth_time: authenticated, claims, nonce, roles } = body;
    const minted = await grants.mint({
      ...{ clientId: body.client_id, redirectUri: body.redirect_uri, subject: body.subject, scopes: body.scopes },
      ...{ codeChallenge: body.code_challenge, session: body.session, tenant: body.tenant, audience: body.audience },
      person: {
        claims,
        nonce,
        roles,
        authenticatedAtMs: authenticated === undefined ? undefined : Date.parse(authenticated),
      },
    });
    if ('problems' in minted) throw new FieldsError(minted.problems);
    return {
      status: 201,
      body: { code: minted.code, expires_at: new Date(minted.expiresAtMs).toISOString(), scopes: minted.scopes },
      audit: { subject: body.subject, client: body.client_id, tenant: minted.tenant, scopes: minted.scopes },
    };
  },
});
