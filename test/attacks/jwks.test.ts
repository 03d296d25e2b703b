// Attacks 80 to 85, end to end: the key endpoint cannot be turned against us. Units stand in test/token/remote-key-set.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mintKey, mintToken, startJwksServer } from '../support/minting.ts';
import { ask, assertForwarded, assertRefused, bearer, head, world } from './world.ts';

const key = mintKey('ES256', 'k1');
const remote = (url: string, keys: object = {}) => ({
  issuers: {
    test: { issuer: url, audience: ['api'], keys: { discover: true, cooldown: '60s', timeout: '500ms', ...keys } },
  },
});

test('attack 80: 1000 tokens with unknown kids cause one fetch, and known kids work meanwhile', async () => {
  await using server = await startJwksServer([key.jwk]);
  await using at = await world(remote(server.url));
  const good = () => head('GET /admin', [bearer(mintToken(key, server.url, Date.now()))]);
  await assertForwarded(at, good());
  const before = server.fetches();
  for (let round = 0; round < 20; round += 1) {
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, n) => {
        const token = mintToken(key, server.url, Date.now(), { header: { kid: `random-${round}-${n}` } });
        return ask(at.port, head('GET /admin', [bearer(token)]));
      }),
    );
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [401]);
    await assertForwarded(at, good());
  }
  assert.ok(server.fetches() - before <= 1, `${server.fetches() - before} fetches`);
});

test('attack 81: whatever the endpoint answers, good keys stay; without any it is 503', async () => {
  await using server = await startJwksServer([key.jwk]);
  await using at = await world(remote(server.url, { refresh: '1s', cooldown: '1s' }));
  const request = () => head('GET /admin', [bearer(mintToken(key, server.url, Date.now()))]);
  await assertForwarded(at, request());
  const answers = ['', 'garbage', '{"keys":[]}', '<html>', '[]', '{}', 'x'.repeat(10 * 1_048_576), 'hang', 'cut'];
  for (const body of answers) {
    server.answer = (request, response) => {
      if (body === 'cut') request.socket.destroy();
      else if (body !== 'hang') response.end(body);
    };
    const asked = server.requests.length;
    for (let n = 0; n < 100 && server.requests.length === asked; n += 1) {
      await assertForwarded(at, request());
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await assertForwarded(at, request());
  }
  server.answer = (_request, response) => void response.writeHead(500).end();
  await using empty = await world(remote(server.url));
  await assertRefused(empty, request(), 503);
});

test('attack 82: redirects of the key endpoint to elsewhere are not followed', async () => {
  await using inner = await startJwksServer([key.jwk]);
  for (const location of [`${inner.url}/jwks`, 'http://169.254.169.254/latest', 'file:///etc/passwd']) {
    await using server = await startJwksServer();
    server.answer = (request, response) => {
      if (request.url === '/jwks') return void response.writeHead(302, { location }).end();
      response.end(JSON.stringify({ issuer: server.url, jwks_uri: `${server.url}/jwks` }));
    };
    await using at = await world(remote(server.url));
    await assertRefused(at, head('GET /admin', [bearer(mintToken(key, server.url, Date.now()))]), 503, {
      what: location,
    });
    assert.deepEqual(inner.requests, []);
  }
});

test('attack 83: two issuers with one kid keep their keys apart', async () => {
  const theirs = mintKey('ES256', 'k1');
  await using a = await startJwksServer([key.jwk]);
  await using b = await startJwksServer([theirs.jwk]);
  const block = (url: string) => ({ issuer: url, audience: ['api'] });
  await using at = await world({ issuers: { a: block(a.url), b: block(b.url) }, defaults: { issuers: ['a', 'b'] } });
  const get = (signer: typeof key, iss: string) => head('GET /admin', [bearer(mintToken(signer, iss, Date.now()))]);
  await assertForwarded(at, get(key, a.url));
  await assertRefused(at, get(key, b.url), 401);
  await assertForwarded(at, get(theirs, b.url));
  await assertRefused(at, get(theirs, a.url), 401);
});

test('attack 84: a failing identity provider is not asked in a tight loop', async () => {
  await using server = await startJwksServer();
  server.answer = (_request, response) => void response.writeHead(500).end();
  await using at = await world(remote(server.url));
  const began = performance.now();
  for (let n = 0; n < 50; n += 1)
    await ask(at.port, head('GET /admin', [bearer(mintToken(key, server.url, Date.now()))]));
  // The shortest pause after a failure is half a second; most are longer.
  const most = 3 + (performance.now() - began) / 500;
  assert.ok(server.requests.length <= Math.min(most, 25), `${server.requests.length} requests, ${most} at most`);
});

test('attack 85: no port of ours ever serves a private member of our keys', async () => {
  await using at = await world({ issuers: { self: { issuer: 'https://us.test', audience: ['api'], sign: {} } } });
  const pages = [
    `http://127.0.0.1:${at.port}/.well-known/jwks.json`,
    `${at.sidecar.observeUrl}/metrics`,
    `${at.sidecar.observeUrl}/.well-known/jwks.json`,
  ];
  for (const page of pages) assert.doesNotMatch(await (await fetch(page)).text(), /"d"\s*:|PRIVATE KEY/);
});
