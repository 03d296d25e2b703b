// Rows of the reference systems about verifying: every branch that refuses, key rotation, audience and issuer, scopes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { admin } from '../attacks/world.ts';
import { mintKey, mintToken, startJwksServer } from '../support/minting.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar, testIssuer, tokenFor } from '../support/sidecar.ts';

const get = (url: string, token?: string) =>
  fetch(url, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } });

/** A refusal without what differs from request to request. */
async function shapeOf(response: Response) {
  const { request_id, ...body } = (await response.json()) as Record<string, unknown>;
  assert.equal(typeof request_id, 'string');
  return { status: response.status, challenge: response.headers.get('www-authenticate'), body };
}

test('C8: every branch of verification is the same 401: revoked, unreadable, wrong type, claims missing, session, subject, client', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, {
    issuers: {
      test: { issuer: testIssuer, audience: ['api'], keys: { inline: { keys: [key.jwk] } }, require: { tenant: null } },
    },
    clients: { off: { id: 'off', issuer: 'test', disabled: true } },
  });
  const good = { tenant: 'acme', sid: 'session-1' };
  const token = (claims: object = {}, header: object = {}) =>
    mintToken(key, testIssuer, Date.now(), { claims: { ...good, ...claims }, header: { ...header } });
  const revoked = token();
  const accepted = await get(sidecar.proxyUrl, revoked);
  assert.equal(accepted.status, 200);
  await accepted.body?.cancel();
  await admin(sidecar, 'POST', '/v1/revocations', { token: revoked });
  await admin(sidecar, 'POST', '/v1/revocations', { kind: 'session', id: 'ended' });
  await admin(sidecar, 'POST', '/v1/revocations', { kind: 'subject', id: 'mallory' });
  const [head, payload] = token().split('.') as [string, string];
  const branches = {
    token_revoked: [revoked, token({ sid: 'ended' }), token({ sub: 'mallory' })],
    token_signature_invalid: [`${head}.${payload}.${token().split('.')[2]}`],
    token_malformed: ['v4.local.sealed', 'x.y'],
    token_type_refused: [token({}, { typ: 'refresh+jwt' }), token({ nonce: 'n' }), token({ typ: 'Refresh' })],
    token_claims_invalid: [token({ tenant: undefined }), token({ sub: 7 })],
    token_expired: [token({ iat: 1_000_000, exp: 1_000_060 })],
    client_disabled: [token({ client_id: 'off' })],
  };
  upstream.clear();
  for (const [reason, tokens] of Object.entries(branches)) {
    for (const each of tokens) {
      assert.deepEqual(
        await shapeOf(await get(sidecar.proxyUrl, each)),
        {
          status: 401,
          challenge: 'Bearer realm="test_app", error="invalid_token"',
          body: { type: 'about:blank', title: 'Unauthorized', status: 401, code: 'invalid_token' },
        },
        reason,
      );
      const decision = sidecar.logged().findLast(({ event }) => event === 'decision');
      assert.equal(decision?.reason, reason);
    }
  }
  assert.equal(upstream.bytes(), '');
});

const key = mintKey('ES256', 'row-key');

test('L24: a key rotated at the issuer is found at its first token, and no request is refused meanwhile', async () => {
  const [before, after] = [mintKey('ES256', 'before'), mintKey('ES256', 'after')];
  await using issuer = await startJwksServer([before.jwk]);
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, {
    issuers: { test: { issuer: issuer.url, audience: ['api'], keys: { discover: true } } },
  });
  const ask = async (by: typeof before) => {
    const response = await get(sidecar.proxyUrl, mintToken(by, issuer.url, Date.now()));
    await response.body?.cancel();
    return response.status;
  };
  assert.equal(await ask(before), 200);
  issuer.keys = [before.jwk, after.jwk];
  const both = await Promise.all(Array.from({ length: 40 }, (_, at) => ask(at % 2 === 0 ? before : after)));
  assert.deepEqual(both, Array(40).fill(200));
  assert.equal(issuer.fetches(), 2);
});

test('H7: a token of a wrong audience or issuer, or signed by the key of another, is 401 and the upstream sees nothing', async () => {
  const foreign = mintKey('ES256', 'foreign');
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, {
    issuers: {
      test: { issuer: testIssuer, audience: ['api'], keys: { inline: { keys: [key.jwk] } } },
      other: { issuer: 'https://other.test/', audience: ['api'], keys: { inline: { keys: [foreign.jwk] } } },
    },
    routes: { all: { match: { prefix: '/' }, issuers: ['test'] } },
  });
  const token = (claims: object, by = key) => mintToken(by, testIssuer, Date.now(), { claims: { ...claims } });
  const accepted = await get(sidecar.proxyUrl, token({ aud: ['else', 'api'] }));
  assert.equal(accepted.status, 200);
  await accepted.body?.cancel();
  upstream.clear();
  const refused = {
    'no aud': token({ aud: undefined }),
    'another aud': token({ aud: 'other-api' }),
    'aud in another case': token({ aud: 'API' }),
    'aud as an object': token({ aud: { api: true } }),
    'no iss': token({ iss: undefined }),
    'an unknown iss': token({ iss: 'https://evil.test/' }),
    'iss without its slash': token({ iss: testIssuer.replace(/\/$/, '') }),
    'an issuer of another route': token({ iss: 'https://other.test/' }, foreign),
    'the key of another issuer': token({}, foreign),
  };
  for (const [what, each] of Object.entries(refused)) {
    assert.equal((await shapeOf(await get(sidecar.proxyUrl, each))).status, 401, what);
  }
  assert.equal(upstream.bytes(), '');
});

test('H19: 401 for a missing or invalid token, 403 insufficient_scope with required and provided for one that may not', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, {
    routes: { all: { match: { prefix: '/' }, require: { scopes: ['read', 'orders:write'] } } },
  });
  const realm = 'Bearer realm="test_app"';
  const about = { type: 'about:blank' };
  assert.deepEqual(await shapeOf(await get(sidecar.proxyUrl)), {
    status: 401,
    challenge: realm,
    body: { ...about, title: 'Unauthorized', status: 401, code: 'unauthorized' },
  });
  assert.deepEqual(await shapeOf(await get(sidecar.proxyUrl, 'not-a-token')), {
    status: 401,
    challenge: `${realm}, error="invalid_token"`,
    body: { ...about, title: 'Unauthorized', status: 401, code: 'invalid_token' },
  });
  assert.deepEqual(await shapeOf(await get(sidecar.proxyUrl, tokenFor({ scope: 'read profile' }))), {
    status: 403,
    challenge: `${realm}, error="insufficient_scope", scope="read orders:write"`,
    body: {
      ...about,
      title: 'Forbidden',
      status: 403,
      code: 'insufficient_scope',
      required: ['read', 'orders:write'],
      provided: ['read', 'profile'],
    },
  });
  assert.equal(upstream.bytes(), '');
  const accepted = await get(sidecar.proxyUrl, tokenFor({ scope: 'profile orders:write read' }));
  assert.equal(accepted.status, 200);
  await accepted.body?.cancel();
});
