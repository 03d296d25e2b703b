// Keys that are never fetched (in the configuration, a file, or our own) had an age too, since the start or their last change; an hour
// later DoorwardIssuerKeysStale paged for them. Found by looking at the picture of the dashboard.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../rows/eventually.ts';
import { startJwksServer } from '../support/minting.ts';
import { configFor, startSidecar, testIssuerBlock } from '../support/sidecar.ts';

test('only key sets that are fetched have an age, as long as they are configured', async () => {
  await using server = await startJwksServer([testIssuerBlock.keys.inline.keys[0]]);
  const issuers = {
    written: testIssuerBlock,
    own: { issuer: 'https://own.test/', audience: ['api'], sign: {} },
    fetched: { issuer: server.url, audience: ['api'], keys: { url: `${server.url}/jwks` } },
  };
  const config = { issuers, defaults: { issuers: Object.keys(issuers) } };
  await using sidecar = await startSidecar('http://127.0.0.1:1', config);
  const aged = async () => {
    const text = await (await fetch(`${sidecar.observeUrl}/metrics`)).text();
    return [...text.matchAll(/^doorward_jwks_age_seconds\{issuer="(\w+)"\} /gm)].map(([, name]) => name);
  };
  await eventually(async () => (await aged()).includes('fetched'), 30_000);
  assert.deepEqual(await aged(), ['fetched']);
  sidecar.writeConfig(configFor('http://127.0.0.1:1', { issuers: { written: issuers.written } }));
  assert.ok((await sidecar.reload()).ok);
  assert.deepEqual(await aged(), []);
});
