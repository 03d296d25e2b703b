// The `oauth` block of sidecar.yaml: how long codes and grants live, and which limits hold at the public endpoints. Part of
// schema.ts, which alone is the schema; the endpoints themselves are switched on by proxy.endpoints.oauth.
import { z } from 'zod';
import { doc, duration, name, oneOrMany } from './fields.ts';

const limitNames = (what: string, standard: string) =>
  oneOrMany(name())
    .optional()
    .meta(doc(`Limits of ${what}, by name. Default: ${standard}.`));

const limits = z.strictObject({
  token: limitNames('the token endpoint', '30/1m per client and address'),
  introspect: limitNames('introspection', '600/1m per client and address'),
  revoke: limitNames('revocation', '60/1m per client and address'),
  register: limitNames('client registration', '10/1m per address'),
  userinfo: limitNames('userinfo', '100/1m per address'),
  documents: limitNames('metadata and key sets', '300/1m per address'),
  failures: limitNames(
    'failed client authentication, counted on top',
    '10/1m per address; beyond it the address is not heard; and 100/1m per client',
  ),
});

/** `oauth`. */
export const oauth = z.strictObject({
  issuer: name()
    .optional()
    .meta(doc('Issuer block with `sign` that the endpoints serve; default: the only one.', 'restart')),
  authorization_endpoint: z
    .url({ protocol: /^https?$/, error: 'needs an http:// or https:// URL' })
    .optional()
    .meta(doc('Published in the metadata: the page of the application that logs people in and asks us for codes.')),
  origins: z
    .array(z.string().min(1))
    .prefault([])
    .meta(
      doc(
        'Origins of pages that may call token, revocation and userinfo from the browser, such as https://app.example.com. The documents may be read from anywhere.',
      ),
    ),
  code_lifetime: duration()
    .prefault('10m')
    .meta(doc('How long an authorization code may wait to be redeemed; at most 10m (RFC 6749 4.1.2).')),
  refresh_lifetime: duration({ span: true })
    .prefault('30d')
    .meta(doc('Absolute end of a grant, however often it is refreshed.')),
  refresh_idle: duration({ span: true }).prefault('7d').meta(doc('End of a grant that is not refreshed for so long.')),
  refresh_grace: duration({ zero: true })
    .prefault('10s')
    .meta(
      doc(
        'How long a retry of a redeemed refresh token gets the same successor; later it is reuse. At most 5m, and more than clocks of replicas differ.',
      ),
    ),
  limits: limits.prefault({}).meta(doc('Limits of the public endpoints; keys may hold ip, client and route.')),
});
