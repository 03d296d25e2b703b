// config/examples/identity-server.yaml as it stands, on real stores: the commands of its comments, until somebody has a token.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { run, scratchFolder, start } from '../cli/processes.ts';
import { freePort } from '../support/free-port.ts';
import { openTestDatabase } from '../support/postgres-server.ts';
import { startRedis } from '../support/redis-server.ts';

const EXAMPLE = fileURLToPath(new URL('../../config/examples/identity-server.yaml', import.meta.url));

test('the example of an identity server gives a client a token that its key set verifies, and serves nothing else', async () => {
  using folder = scratchFolder();
  await using database = await openTestDatabase();
  await using redis = await startRedis();
  const issuer = `http://127.0.0.1:${await freePort()}`;
  const env = {
    DATABASE_URL: database.settings.url,
    REDIS_URL: redis.url,
    DOORWARD_KEK: randomBytes(32).toString('base64'),
    // What a test cannot have: the host name and its TLS, and fixed ports.
    DOORWARD__ISSUERS__SELF__ISSUER: issuer,
    DOORWARD__PROXY__LISTEN: issuer.slice('http://'.length),
    DOORWARD__ADMIN__LISTEN: '127.0.0.1:0',
    DOORWARD__OBSERVE__LISTEN: '127.0.0.1:0',
    DOORWARD__STATE_DIR: folder.file('state'),
  };
  await using server = start(['run', '--production', '--config', EXAMPLE], { cwd: folder.path, env });
  await server.until(/"event":"listening"/);
  const said = await run(
    ['client', 'add', 'billing', '--grant', 'client_credentials', '--scope', 'read', '--json', '--state-dir', 'state'],
    { cwd: folder.path },
  );
  assert.equal(said.code, 0, said.err);
  const { client_id, client_secret } = JSON.parse(said.out);
  const metadata = (await (await fetch(`${issuer}/.well-known/oauth-authorization-server`)).json()) as Record<
    string,
    string
  >;
  assert.equal(metadata.authorization_endpoint, 'https://app.example.com/login');
  const answer = await fetch(metadata.token_endpoint as string, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from(`${client_id}:${client_secret}`).toString('base64')}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'read' }),
  });
  const { access_token } = (await answer.json()) as { access_token: string };
  const keys = createRemoteJWKSet(new URL(metadata.jwks_uri as string));
  const { payload } = await jwtVerify(access_token, keys, { issuer, audience: 'api' });
  assert.equal(payload.client_id, client_id);
  assert.equal((await fetch(`${issuer}/orders`)).status, 404);
});
