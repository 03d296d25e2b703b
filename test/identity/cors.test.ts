// Browser clients with PKCE on other origins: what pages of listed origins may read, and what no other page may.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as oauth from 'oauth4webapi';
import { pageFetch } from './browser-fetch.ts';
import { type OAuthWorld, openOAuthWorld, REDIRECT } from './world.ts';

const APP = 'https://app.example.com';
const listed = { oauth: { origins: [APP, 'http://localhost:5173'] } };

const publicClient = (world: OAuthWorld) =>
  world.addClient({ type: 'public', authMethod: 'none', grantTypes: ['authorization_code', 'refresh_token'] });

const preflight = (url: string, origin: string, more: object = {}) =>
  fetch(url, { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'POST', ...more } });

const corsOf = (answer: Response) =>
  Object.fromEntries([...answer.headers].filter(([name]) => name.startsWith('access-control-') || name === 'vary'));

test('oauth4webapi in a page of a listed origin: discovery, code with PKCE, userinfo, refresh, revocation', async () => {
  await using world = await openOAuthWorld(listed);
  const client = await publicClient(world);
  const page = pageFetch(APP);
  const options = { [oauth.customFetch]: page.fetch as never, [oauth.allowInsecureRequests]: true };
  const issuer = new URL(world.issuer);
  const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, options));
  const me: oauth.Client = { client_id: client.id };
  const verifier = oauth.generateRandomCodeVerifier();
  const minted = await world.admin('POST', '/v1/codes', {
    ...{ client_id: client.id, redirect_uri: REDIRECT, subject: 'alice', scopes: ['openid', 'read'] },
    ...{ code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256' },
  });
  const back = new URL(`${REDIRECT}?code=${(minted.body as { code: string }).code}`);
  const parameters = oauth.validateAuthResponse(server, me, back, oauth.skipStateCheck);
  const response = await oauth.authorizationCodeGrantRequest(
    ...([server, me, oauth.None(), parameters, REDIRECT, verifier, options] as const),
  );
  const tokens = await oauth.processAuthorizationCodeResponse(server, me, response);
  const userinfo = await oauth.userInfoRequest(server, me, tokens.access_token, options);
  assert.equal((await oauth.processUserInfoResponse(server, me, 'alice', userinfo)).sub, 'alice');
  assert.equal(page.preflights(), 1, 'the Authorization field of userinfo');
  const refresh = tokens.refresh_token as string;
  const refreshed = await oauth.refreshTokenGrantRequest(server, me, oauth.None(), refresh, options);
  const next = await oauth.processRefreshTokenResponse(server, me, refreshed);
  const revoked = await oauth.revocationRequest(server, me, oauth.None(), next.access_token, options);
  await oauth.processRevocationResponse(revoked);
  assert.equal(await world.call(next.access_token), 401);
});

test('a page of another origin reads neither tokens nor refusals nor userinfo; what it sends is judged as ever', async () => {
  await using world = await openOAuthWorld(listed);
  const client = await publicClient(world);
  for (const origin of [
    'https://evil.example',
    'https://app.example.com.evil.example',
    'http://app.example.com',
    'null',
  ]) {
    const { fetch: asPage } = pageFetch(origin);
    const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: 'x', client_id: client.id });
    await assert.rejects(asPage(world.url('token'), { method: 'POST', body }), /may not be read/, origin);
    const bearer = { headers: { authorization: 'Bearer x' } };
    await assert.rejects(asPage(world.url('userinfo'), bearer), /preflight refused/, origin);
  }
});

test('a page of a listed origin reads refusals, and when to ask again', async () => {
  await using world = await openOAuthWorld({
    ...{ oauth: { ...listed.oauth, limits: { token: ['tight'] } }, limits: { tight: { key: 'ip', rate: '1/1h' } } },
  });
  const client = await publicClient(world);
  const { fetch: asPage } = pageFetch(APP);
  const ask = () => {
    const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: 'x', client_id: client.id });
    return asPage(world.url('token'), { method: 'POST', body });
  };
  const refused = await ask();
  assert.deepEqual([refused.status, ((await refused.json()) as { error: string }).error], [400, 'invalid_grant']);
  const limited = await ask();
  assert.equal(limited.status, 429);
  assert.ok(Number(limited.headers.get('retry-after')) >= 1);
});

test('a preflight is answered with the listed origin itself, never a star, and never with credentials', async () => {
  await using world = await openOAuthWorld(listed);
  for (const [name, methods] of [
    ['token', 'POST'],
    ['revoke', 'POST'],
    ['userinfo', 'GET, HEAD, POST'],
  ] as const) {
    const answer = await preflight(world.url(name), APP, { 'access-control-request-headers': 'authorization' });
    assert.deepEqual([answer.status, await answer.text(), answer.headers.get('content-length')], [204, '', null]);
    assert.deepEqual(corsOf(answer), {
      'access-control-allow-origin': APP,
      'access-control-allow-methods': methods,
      'access-control-allow-headers': 'Authorization, Content-Type',
      'access-control-expose-headers': 'Retry-After, WWW-Authenticate, X-Request-Id',
      'access-control-max-age': '600',
      vary: 'Origin',
    });
  }
  const other = await preflight(world.url('token'), 'https://evil.example');
  assert.deepEqual([other.status, corsOf(other)], [405, { vary: 'Origin' }]);
  // Without the field of a preflight it is an OPTIONS like any other.
  assert.equal((await fetch(world.url('token'), { method: 'OPTIONS', headers: { origin: APP } })).status, 405);
});

test('introspection and registration are for no page at all', async () => {
  await using world = await openOAuthWorld(listed);
  for (const name of ['introspect', 'register']) {
    const answer = await preflight(world.url(name), APP);
    assert.deepEqual([answer.status, corsOf(answer)], [405, {}], name);
    const posted = await fetch(world.url(name), { method: 'POST', headers: { origin: APP } });
    assert.equal(posted.headers.get('access-control-allow-origin'), null, name);
  }
});

test('metadata and key set are read by any page, also conditionally', async () => {
  await using world = await openOAuthWorld();
  for (const name of ['openid-configuration', 'oauth-authorization-server', 'jwks.json']) {
    const { fetch: asPage } = pageFetch('https://anybody.example');
    const url = `${world.issuer}/.well-known/${name}`;
    const first = await asPage(url);
    assert.equal(first.status, 200, name);
    const etag = (await fetch(url)).headers.get('etag') as string;
    assert.equal((await asPage(url, { headers: { 'if-none-match': etag } })).status, 304, name);
  }
});

test('without oauth.origins no page elsewhere reads tokens', async () => {
  await using world = await openOAuthWorld();
  const answer = await preflight(world.url('token'), APP);
  assert.deepEqual([answer.status, corsOf(answer)], [405, {}]);
});
