// OAuth clients that nobody here wrote, unchanged, against a running sidecar: openid-client and oauth4webapi.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import * as oauth from 'oauth4webapi';
import * as oidc from 'openid-client';
import { type OAuthWorld, openOAuthWorld, REDIRECT, type TestClient } from './world.ts';

const insecure = { [oauth.allowInsecureRequests]: true };

/** What an application does that logs people in itself: it asks us for a code and sends the browser back with it. */
async function loggedIn(world: OAuthWorld, client: TestClient, asked: Readonly<Record<string, unknown>>): Promise<URL> {
  const { status, body } = await world.admin('POST', '/v1/codes', {
    client_id: client.id,
    redirect_uri: REDIRECT,
    subject: 'alice',
    code_challenge_method: 'S256',
    auth_time: new Date().toISOString(),
    ...asked,
  });
  assert.equal(status, 201, JSON.stringify(body));
  return new URL(`${REDIRECT}?code=${body.code}&state=st`);
}

async function discovered(world: OAuthWorld, client: TestClient, authentication?: oidc.ClientAuth) {
  return oidc.discovery(new URL(world.issuer), client.id, client.secret, authentication, {
    execute: [oidc.allowInsecureRequests],
  });
}

test('openid-client: discovery, client_credentials, introspection, revocation', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const config = await discovered(world, client, oidc.ClientSecretBasic(client.secret));
  assert.equal(config.serverMetadata().token_endpoint, world.url('token'));
  const tokens = await oidc.clientCredentialsGrant(config, { scope: 'read' });
  assert.equal(await world.call(tokens.access_token), 200);
  const before = await oidc.tokenIntrospection(config, tokens.access_token);
  assert.deepEqual([before.active, before.scope, before.client_id], [true, 'read', client.id]);
  await oidc.tokenRevocation(config, tokens.access_token);
  assert.deepEqual(await oidc.tokenIntrospection(config, tokens.access_token), { active: false });
  assert.equal(await world.call(tokens.access_token), 401);
});

test('openid-client: authorization_code with PKCE and nonce, refresh, userinfo, a reused refresh token refused', async () => {
  await using world = await openOAuthWorld({ oauth: { refresh_grace: '0s' } });
  const client = await world.addClient({ authMethod: 'client_secret_post' });
  const config = await discovered(world, client, oidc.ClientSecretPost(client.secret));
  const pkceCodeVerifier = oidc.randomPKCECodeVerifier();
  const nonce = oidc.randomNonce();
  const url = await loggedIn(world, client, {
    code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier),
    nonce,
    claims: { email: 'alice@example.com' },
  });
  const tokens = await oidc.authorizationCodeGrant(config, url, {
    pkceCodeVerifier,
    expectedNonce: nonce,
    expectedState: 'st',
    idTokenExpected: true,
    maxAge: 60,
  });
  assert.equal(tokens.claims()?.sub, 'alice');
  const person = await oidc.fetchUserInfo(config, tokens.access_token, 'alice');
  assert.equal(person.email, 'alice@example.com');
  const refreshed = await oidc.refreshTokenGrant(config, tokens.refresh_token as string);
  assert.equal(await world.call(refreshed.access_token), 200);
  assert.equal(refreshed.claims()?.sub, 'alice');
  await assert.rejects(oidc.refreshTokenGrant(config, tokens.refresh_token as string), { error: 'invalid_grant' });
  await assert.rejects(oidc.refreshTokenGrant(config, refreshed.refresh_token as string), { error: 'invalid_grant' });
});

for (const [alg, generated] of [
  ['ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
  ['RS256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
] as const) {
  test(`attack 122: openid-client and oauth4webapi with private_key_jwt under ${alg}`, async () => {
    await using world = await openOAuthWorld();
    const jwk = { ...generated.publicKey.export({ format: 'jwk' }), kid: 'k1', alg, use: 'sig' };
    const client = await world.addClient({ authMethod: 'private_key_jwt', jwks: { keys: [jwk] } });
    const pkcs8 = generated.privateKey.export({ format: 'der', type: 'pkcs8' });
    const algorithm =
      alg === 'ES256' ? { name: 'ECDSA', namedCurve: 'P-256' } : { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
    const key = await crypto.subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign']);
    const config = await discovered(world, client, oidc.PrivateKeyJwt({ key, kid: 'k1' }));
    const one = await oidc.clientCredentialsGrant(config, {});
    assert.equal((await oidc.tokenIntrospection(config, one.access_token)).active, true);
    const server = await serverOf(world);
    const response = await oauth.clientCredentialsGrantRequest(
      server,
      { client_id: client.id },
      oauth.PrivateKeyJwt({ key, kid: 'k1' }),
      new URLSearchParams({ scope: 'read' }),
      insecure,
    );
    const two = await oauth.processClientCredentialsResponse(server, { client_id: client.id }, response);
    assert.equal(await world.call(two.access_token), 200);
  });
}

async function serverOf(
  world: OAuthWorld,
  algorithm: 'oidc' | 'oauth2' = 'oauth2',
): Promise<oauth.AuthorizationServer> {
  const issuer = new URL(world.issuer);
  const response = await oauth.discoveryRequest(issuer, { algorithm, ...insecure });
  return oauth.processDiscoveryResponse(issuer, response);
}

test('oauth4webapi: a public client with PKCE, whose ID token and access token it verifies with our key set', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient({
    type: 'public',
    authMethod: 'none',
    grantTypes: ['authorization_code', 'refresh_token'],
  });
  const server = await serverOf(world, 'oidc');
  const me: oauth.Client = { client_id: client.id };
  const verifier = oauth.generateRandomCodeVerifier();
  const nonce = oauth.generateRandomNonce();
  const url = await loggedIn(world, client, {
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    nonce,
  });
  const parameters = oauth.validateAuthResponse(server, me, url, 'st');
  const response = await oauth.authorizationCodeGrantRequest(
    server,
    me,
    oauth.None(),
    parameters,
    REDIRECT,
    verifier,
    insecure,
  );
  const tokens = await oauth.processAuthorizationCodeResponse(server, me, response, {
    expectedNonce: nonce,
    requireIdToken: true,
  });
  await oauth.validateApplicationLevelSignature(server, response, insecure);
  const request = new Request('https://api.example/', {
    headers: { authorization: `Bearer ${tokens.access_token}` },
  });
  const claims = await oauth.validateJwtAccessToken(server, request, 'api', insecure);
  assert.deepEqual([claims.sub, claims.client_id], ['alice', client.id]);
  const refresh = await oauth.refreshTokenGrantRequest(
    server,
    me,
    oauth.None(),
    tokens.refresh_token as string,
    insecure,
  );
  const refreshed = await oauth.processRefreshTokenResponse(server, me, refresh);
  assert.equal(await world.call(refreshed.access_token), 200);
  const revocation = await oauth.revocationRequest(
    server,
    me,
    oauth.None(),
    refreshed.refresh_token as string,
    insecure,
  );
  await oauth.processRevocationResponse(revocation);
  assert.equal(await world.call(refreshed.access_token), 401);
  const again = await oauth.refreshTokenGrantRequest(
    server,
    me,
    oauth.None(),
    refreshed.refresh_token as string,
    insecure,
  );
  await assert.rejects(oauth.processRefreshTokenResponse(server, me, again), { error: 'invalid_grant' });
});

test('oauth4webapi: introspection and userinfo, and the refusals as it reads them', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const server = await serverOf(world);
  const me: oauth.Client = { client_id: client.id };
  const proof = oauth.ClientSecretBasic(client.secret);
  const response = await oauth.clientCredentialsGrantRequest(server, me, proof, new URLSearchParams(), insecure);
  const tokens = await oauth.processClientCredentialsResponse(server, me, response);
  const asked = await oauth.introspectionRequest(server, me, proof, tokens.access_token, insecure);
  const answer = await oauth.processIntrospectionResponse(server, me, asked);
  assert.deepEqual([answer.active, answer.sub, answer.iss], [true, client.id, world.issuer]);
  const wrong = await oauth.clientCredentialsGrantRequest(
    server,
    me,
    oauth.ClientSecretBasic('wrong'),
    new URLSearchParams(),
    insecure,
  );
  await assert.rejects(
    oauth.processClientCredentialsResponse(server, me, wrong),
    (error) => error instanceof oauth.WWWAuthenticateChallengeError && error.status === 401,
  );
  const person = await oauth.userInfoRequest(server, me, tokens.access_token, insecure);
  assert.equal(person.status, 401, 'a client is no person');
});

test('openid-client registers itself, and is a client then', async () => {
  await using world = await openOAuthWorld({ tiers: { free: { scopes: ['read'] } }, default_tier: 'free' });
  const { status, body } = await world.admin('POST', '/v1/clients/initial-access-tokens', {});
  assert.equal(status, 201, JSON.stringify(body));
  const config = await oidc.dynamicClientRegistration(
    new URL(world.issuer),
    {
      grant_types: ['client_credentials'],
      client_name: 'by itself',
      redirect_uris: [],
      token_endpoint_auth_method: 'client_secret_post',
    },
    undefined,
    { initialAccessToken: body.token as string, execute: [oidc.allowInsecureRequests] },
  );
  const tokens = await oidc.clientCredentialsGrant(config, {});
  assert.equal(tokens.scope, 'read');
  assert.equal(await world.call(tokens.access_token), 200);
});
