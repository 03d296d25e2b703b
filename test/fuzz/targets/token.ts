// An access token through parser, header and claims: a refusal of the closed list, or a shape that says what its bytes say.
import assert from 'node:assert/strict';
import { SidecarError } from '../../../src/core/errors.ts';
import { validateClaims } from '../../../src/token/claims.ts';
import { acceptHeader } from '../../../src/token/header.ts';
import { parseAccessToken } from '../../../src/token/parse.ts';
import type { Target } from '../engine.ts';
import { type IssuerInput, issuerRulesFor } from './issuer-rules.ts';
import { referenceObject } from './json.ts';

const NOW_MS = 1_700_000_000_000;
const input: IssuerInput = { issuer: 'https://id.test/', audience: ['api'], keys: { url: 'https://id.test/jwks' } };
const rules = issuerRulesFor(input);

const code = (value: unknown) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value), 'latin1').toString('base64url');

/** Lines of an input become the parts of a token, so that chance reaches what stands inside them; one line is the token itself. */
export function tokenOf(bytes: Buffer): string {
  const lines = bytes.toString('latin1').split('\n');
  return lines.length === 1 ? (lines[0] as string) : lines.map(code).join('.');
}

const claims =
  '{"iss":"https://id.test/","aud":["api"],"sub":"a","client_id":"c","scope":"r w","jti":"j","iat":1699999990,"exp":1700000300}';

/** Never another exception, and nothing accepted that its own bytes do not say. */
export const target: Target = {
  name: 'token',
  files: /src\/token\/(?:parse|header|claims|claim-values|verification-key)|src\/core\/(?:strict-json|encoding)/,
  seeds: [
    `{"alg":"ES256","kid":"k","typ":"at+jwt"}\n${claims}\nsignature`,
    `{"alg":"ES256","crit":["x"]}\n${claims.replace('"sub":"a"', '"sub":"a","nonce":"n","cnf":{}')}\ns`,
    'a.b.c',
    `{"alg":"none"}\n{"exp":"1","nbf":-1,"scp":["a"],"roles":{"a":1},"aud":"api"}\n`,
  ],
  words: [
    '\n', '.', '=', '"alg":"RS256"', '"typ":"JWT"', '"typ":"application/at+jwt"', '"kid":""', '"b64":false', '"exp":1e999', '"nbf":1700000100', '"aud":"api"', '"scp":[', '"roles":',
    '"tenant":"t"', '"sid":', '"azp":"c"', '"token_use":"id"', '"typ":"ID"', '"at_hash":', '"iat":', '9007199254740993', '1700000300.5', 'null', '{}', '[]', '\\u0000', '__proto__',
  ], // biome-ignore format: a word list
  maxBytes: 1200,
  check(bytes) {
    const token = tokenOf(bytes);
    try {
      const parsed = parseAccessToken(token);
      assert.equal(`${parsed.signingInput}.${parsed.signatureSegment}`, token);
      const again = (segment: string) => Buffer.from(segment, 'base64url').toString('base64url');
      for (const segment of token.split('.')) assert.equal(again(segment), segment, 'one spelling only');
      assert.deepEqual(parsed.claims, referenceObject(Buffer.from(parsed.payloadSegment, 'base64url')));
      const header = acceptHeader(parsed.header, rules);
      assert.ok(rules.algorithms.has(header.algorithm));
      const { identity, notAfterMs, notBeforeMs } = validateClaims(parsed.claims, rules, NOW_MS);
      assert.ok(notBeforeMs <= NOW_MS && NOW_MS < notAfterMs && Number.isFinite(notAfterMs));
      assert.ok([identity.scopes, identity.roles].flat().every((word) => typeof word === 'string' && word !== ''));
      for (const text of [identity.subject, identity.client, identity.jti])
        assert.ok(text === undefined || (text !== '' && text.length <= 1024));
    } catch (error) {
      if (!(error instanceof SidecarError)) throw error;
      assert.match(error.reason, /^token_/);
    }
  },
};
