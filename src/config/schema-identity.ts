// How the application learns who is calling: identity headers, and the signed assertion for those that verify.
import { z } from 'zod';
import { claimPath, doc, duration, secret } from './fields.ts';

const identityWord = z.enum(['subject', 'issuer', 'client', 'scopes', 'roles', 'tenant', 'token_id', 'session']);
const headerName = z.string().regex(/^[A-Za-z][A-Za-z0-9-]*$/, 'needs a header name of letters, digits and -');

/** The block `identity_headers`. */
export const identityHeaders = z
  .record(
    headerName,
    z.union([
      identityWord,
      z.strictObject({ claim: claimPath(), format: z.enum(['text', 'json_base64url']).prefault('text') }),
    ]),
  )
  .prefault({
    'X-Auth-Subject': 'subject',
    'X-Auth-Issuer': 'issuer',
    'X-Auth-Client': 'client',
    'X-Auth-Scopes': 'scopes',
    'X-Auth-Roles': 'roles',
    'X-Auth-Tenant': 'tenant',
    'X-Auth-Token-Id': 'token_id',
  });

/** The block `identity_assertion`. */
export const identityAssertion = z.strictObject({
  enabled: z
    .boolean()
    .prefault(false)
    .meta(doc('Send a short-lived signed JWT about the caller; keys at <reserved_prefix>/assertion/jwks.json.')),
  header: headerName.prefault('X-Auth-Assertion').meta(doc('Header that carries it; stripped from clients.')),
  algorithm: z.enum(['ES256', 'RS256', 'EdDSA']).prefault('ES256').meta(doc('What it is signed with.')),
  keys: z
    .array(secret())
    .min(1)
    .optional()
    .meta(
      doc(
        'PKCS8 PEM keys: the first signs, all are published, so that keys can be changed. Default: one in state_dir.',
      ),
    ),
  issuer: z.string().min(1).prefault('doorward').meta(doc('Its `iss`.')),
  audience: z.string().min(1).optional().meta(doc('Its `aud`: the application that may believe it; default `name`.')),
  lifetime: duration().prefault('1m').meta(doc('How long it is good; never longer than the token it stands for.')),
});
