// A configuration on its way to a worker process: the very same one arrives, through what a channel between processes does.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deserialize, serialize } from 'node:v8';
import { loadConfig } from '../../src/config/load.ts';
import { printConfig } from '../../src/config/print.ts';
import { shipConfig, unshipConfig } from '../../src/config/shipped.ts';
import { configEnvironment } from '../support/config-keys.ts';
import { SMALLEST, temporaryFolder } from '../support/config-text.ts';

test('what arrives has the hash, the secrets and the sources of what was sent, though the files have changed since', () => {
  using folder = temporaryFolder();
  folder.write('secret', configEnvironment.JWT_SECRET!);
  const text = SMALLEST.replace('audience: [api]', 'audience: [api], keys: {secret: {file: secret}}');
  const file = folder.write('sidecar.yaml', text);
  const sent = loadConfig({ file, env: {} });
  folder.write('secret', 'another secret that is long enough for HS256');
  folder.write('sidecar.yaml', 'nonsense');
  const arrived = unshipConfig(deserialize(serialize(shipConfig(sent))));
  const { secret } = arrived.config.issuers.corp!.keys;
  assert.deepEqual([arrived.hash, arrived.config], [sent.hash, sent.config]);
  assert.equal(arrived.secrets.get(secret!), configEnvironment.JWT_SECRET);
  const print = (loaded: typeof sent) => printConfig(loaded, { withSources: true });
  assert.equal(print(arrived), print(sent));
});
