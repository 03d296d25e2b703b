// The public endpoints over HTTP/2: the same answers as over HTTP/1.1.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { askHttp2, openHttp2 } from '../support/http2-client.ts';
import { basicField, openOAuthWorld } from './world.ts';

test('metadata, a token and refusals come over HTTP/2 as they do over HTTP/1.1', async () => {
  await using w = await openOAuthWorld({ proxy: { http2: true } });
  const client = await w.addClient();
  await using session = await openHttp2(w.sidecar.proxyUrl);
  const authority = new URL(w.issuer).host;
  const base = { ':authority': authority };
  const metadata = await askHttp2(session, { ...base, ':path': '/.well-known/oauth-authorization-server' });
  assert.ok('status' in metadata, JSON.stringify(metadata));
  assert.equal(metadata.status, 200, metadata.body);
  assert.equal(JSON.parse(metadata.body).issuer, w.issuer);
  const ask = async (secret: string, body: string) => {
    const answer = await askHttp2(
      session,
      {
        ...base,
        ':method': 'POST',
        ':path': new URL(w.url('token')).pathname,
        'content-type': 'application/x-www-form-urlencoded',
        authorization: basicField(client.id, secret),
      },
      body,
    );
    assert.ok('status' in answer, JSON.stringify(answer));
    return answer;
  };
  const granted = await ask(client.secret, 'grant_type=client_credentials');
  assert.equal(granted.status, 200, granted.body);
  assert.equal(typeof JSON.parse(granted.body).access_token, 'string');
  const refused = await ask('wrong', 'grant_type=client_credentials');
  assert.deepEqual([refused.status, JSON.parse(refused.body).error], [401, 'invalid_client']);
  const huge = await ask(client.secret, `grant_type=client_credentials&x=${'y'.repeat(300_000)}`);
  assert.equal(huge.status, 413);
});
