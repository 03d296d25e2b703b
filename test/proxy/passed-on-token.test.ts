// Behind oauth2-proxy: the access token that it passes on is a credential where a route says so, and goes no further.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseText, problemsOf, SMALLEST } from '../support/config-text.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';

const withHeader = (header: string) =>
  SMALLEST.replace('{prefix: /}', `{prefix: /}, credentials: [{header: ${header}}]`);

test('X-Forwarded-Access-Token may hold the token, no other forwarded field', () => {
  assert.deepEqual(parseText(withHeader('X-Forwarded-Access-Token')).config.routes.all?.credentials, [
    { header: 'X-Forwarded-Access-Token' },
  ]);
  for (const header of ['X-Forwarded-For', 'X-Forwarded-Token', 'X_Forwarded_Access_Token', 'Forwarded'])
    assert.match(problemsOf(withHeader(header))[0] ?? '', /is a header that HTTP, proxies or we use/, header);
});

test('it is verified, removed, and the names that came beside it are set anew from the token', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, {
    identity_headers: { 'X-Forwarded-User': 'subject' },
    routes: { all: { match: { prefix: '/' }, credentials: [{ header: 'X-Forwarded-Access-Token' }] } },
  });
  const ask = async (token: string) => {
    const headers = { 'x-forwarded-access-token': token, 'x-forwarded-user': 'root' };
    return (await fetch(`${sidecar.proxyUrl}/orders`, { headers })).status;
  };
  assert.equal(await ask(tokenFor({ sub: 'alice' })), 200);
  const [seen] = upstream.seen;
  assert.deepEqual(
    [seen?.headers['x-forwarded-user'], seen?.headers['x-forwarded-access-token']],
    ['alice', undefined],
  );
  assert.equal(await ask(`${tokenFor().slice(0, -4)}AAAA`), 401);
  assert.equal(upstream.seen.length, 1);
});
