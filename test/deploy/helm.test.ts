// The charts: what they render to, what the API server would say of it, and the control plane started from what was rendered.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { Ajv } from 'ajv';
import { parse, stringify } from 'yaml';
import { parseDuration } from '../../src/core/units.ts';
import { runHere, scratchFolder, start } from '../cli/processes.ts';
import { freePort } from '../support/free-port.ts';
import { openTestDatabase } from '../support/postgres-server.ts';
import { startRedis } from '../support/redis-server.ts';
import { checkedConfig } from './checked.ts';
import { chartValues, openRenderer } from './helm.ts';
import { type Manifest, manifestProblems, manifestsIn, named } from './manifests.ts';
import { assertRestricted } from './restricted.ts';
import { assertSnapshot } from './snapshots.ts';

const renderer = openRenderer();
after(() => renderer[Symbol.dispose]());

const podOf = (manifests: readonly Manifest[], name: string) => named(manifests, 'Deployment', name).spec.template.spec;

/** Every switch of the chart turned. */
const everything = {
  image: { digest: `sha256:${'0'.repeat(64)}` },
  imagePullSecrets: [{ name: 'registry' }],
  migrate: { databaseUrl: { name: 'doorward-owner', key: 'url' } },
  service: { annotations: { 'example.com/team': 'identity' } },
  networkPolicy: { clients: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'ingress' } } }] },
  serviceMonitor: { enabled: true, labels: { release: 'prometheus' } },
  prometheusRule: { enabled: true, labels: { release: 'prometheus' } },
  nodeSelector: { 'kubernetes.io/arch': 'amd64' },
  tolerations: [{ key: 'dedicated', operator: 'Exists' }],
  affinity: { nodeAffinity: {} },
  podAnnotations: { 'example.com/owner': 'identity' },
  serviceAccount: { annotations: { 'eks.amazonaws.com/role-arn': 'arn:aws:iam::111122223333:role/doorward' } },
  env: [{ name: 'NODE_EXTRA_CA_CERTS', value: '/run/secrets/doorward/ca.pem' }],
};

test('the control plane renders to what is committed, plain and with every switch turned, and the API server takes it', async () => {
  const plain = renderer.render('doorward', 'auth');
  const full = renderer.render('doorward', 'auth', everything);
  assertSnapshot('helm-control-plane.yaml', plain.manifests);
  assertSnapshot('helm-control-plane-everything.yaml', full.manifests);
  assert.deepEqual(await manifestProblems([...plain.manifests, ...full.manifests]), []);
  assertRestricted(podOf(plain.manifests, 'auth'));
  assertRestricted(podOf(full.manifests, 'auth'));
  assert.match(plain.notes, /auth serves OAuth on service auth:80 .*\n {2}https:\/\/auth\.example\.com\n/);
});

test('every switch can be turned off, and what it made is gone', () => {
  const { manifests } = renderer.render('doorward', 'auth', {
    migrate: { enabled: false },
    podDisruptionBudget: { enabled: false },
    networkPolicy: { enabled: false },
  });
  assert.deepEqual(
    manifests.map(({ kind }) => kind),
    ['ConfigMap', 'Deployment', 'ServiceAccount', 'Service', 'Service'],
  );
  assert.equal(podOf(manifests, 'auth').initContainers, undefined);
});

test('variables reach the sidecar of the library, and nothing is there where none is asked for', () => {
  const env = [{ name: 'NODE_OPTIONS', value: '--max-semi-space-size=4' }];
  const sidecarOf = (values: object) =>
    podOf(renderer.render('example', 'shop-api', values).manifests, 'shop-api').initContainers[0];
  assert.deepEqual(sidecarOf({ 'doorward-sidecar': { env } }).env, env);
  assert.ok(!('env' in sidecarOf({})));
});

test('a Secret without a name is an error of the rendering, and so is a value that does not exist', () => {
  assert.throws(
    () => renderer.render('doorward', 'auth', { secrets: { kek: { name: '' } } }),
    (error: { stderr: string }) => /secrets\.kek\.name/.test(error.stderr),
  );
  assert.throws(
    () => renderer.render('doorward', 'auth', { service: { port: null } }),
    (error: { stderr: string }) => /no entry for key "port"/.test(error.stderr),
  );
});

test('values.schema.json takes what the chart ships and what the tests set, and refuses names that do not exist', () => {
  const schema = new URL('../../deploy/helm/doorward/values.schema.json', import.meta.url);
  const validate = new Ajv({ strict: true, allowUnionTypes: true, strictRequired: false }).compile(
    JSON.parse(readFileSync(schema, 'utf8')),
  );
  const values = chartValues('doorward');
  assert.ok(validate(values), JSON.stringify(validate.errors));
  for (const [name, value] of Object.entries(everything)) {
    const one = typeof value === 'object' && !Array.isArray(value) ? { ...(values[name] as object), ...value } : value;
    assert.ok(validate({ ...values, [name]: one }), name);
  }
  for (const wrong of [
    { replica: 2 },
    { replicas: 0 },
    { image: { repository: 'x', digest: 'latest' } },
    { secrets: { kek: 'in-clear' } },
    { networkPolicy: { enabled: true, monitoring: [] } },
    { migrate: { databaseUrl: { name: 'x' } } },
    { env: [{ value: 'without a name' }] },
    { serviceAccount: { name: 'x' } },
  ])
    assert.ok(!validate({ ...values, ...wrong }), JSON.stringify(wrong));
});

test('the drain of the configuration fits into the hook, and the hook into the grace period', async () => {
  using folder = scratchFolder();
  const values = chartValues('doorward') as {
    config: object;
    drainWait: string;
    terminationGracePeriodSeconds: number;
  };
  const { config } = await checkedConfig(folder.file('values.yaml'), {}, await mounted(values.config, folder));
  const waitMs = parseDuration(values.drainWait) as number;
  assert.ok(config.proxy.drain.delay + config.proxy.drain.timeout < waitMs);
  assert.ok(waitMs < values.terminationGracePeriodSeconds * 1000);
});

/** Writes a configuration beside freshly made keys; returns the content of every file that the chart mounts. */
async function mounted(
  config: object,
  folder: ReturnType<typeof scratchFolder>,
  urls: Partial<Record<string, string>> = {},
) {
  writeFileSync(folder.file('values.yaml'), stringify(config));
  const made = await runHere(['key', 'publishing', folder.path]);
  assert.equal(made.code, 0, made.err);
  return {
    '/run/secrets/doorward/redis-url': urls.redis ?? 'rediss://redis.example:6379',
    '/run/secrets/doorward/database-url': urls.database ?? 'postgres://doorward:word@db.example/doorward',
    '/run/secrets/doorward/kek': randomBytes(32).toString('base64'),
    '/run/secrets/doorward/publish.key': readFileSync(folder.file('publish.key'), 'utf8'),
    '/run/secrets/doorward/publish.pub': readFileSync(folder.file('publish.pub'), 'utf8'),
  };
}

test('what the chart mounts is what its configuration reads, and started from it the control plane migrates, serves and drains', async () => {
  await using redis = await startRedis();
  await using database = await openTestDatabase({ migrated: false });
  using folder = scratchFolder();
  const { manifests } = renderer.render('doorward', 'auth');
  const pod = podOf(manifests, 'auth');
  const config = parse(named(manifests, 'ConfigMap', 'auth').data['sidecar.yaml']);
  const files = await mounted(config, folder, { redis: redis.url, database: database.settings.url });
  const [, projected] = pod.volumes;
  const paths = projected.projected.sources.map(
    (one: { secret: { items: [{ path: string }] } }) => one.secret.items[0].path,
  );
  assert.deepEqual(paths.map((path: string) => `/run/secrets/doorward/${path}`).sort(), Object.keys(files).sort());

  let text = stringify(config).replace('0.0.0.0:8080', '0.0.0.0:0').replace('delay: 5s', 'delay: 0s');
  for (const [path, content] of Object.entries(files)) {
    const file = folder.file(path.slice(path.lastIndexOf('/') + 1));
    writeFileSync(file, content);
    text = text.replaceAll(path, file);
  }
  const file = folder.file('sidecar.yaml');
  writeFileSync(file, text);
  // The arguments of both containers, as rendered.
  const here = (args: readonly string[]) => args.map((one) => (one === '/etc/doorward/sidecar.yaml' ? file : one));
  const migrated = await start(here(pod.initContainers[0].args), { cwd: folder.path }).ended;
  assert.deepEqual([migrated.code, migrated.err], [0, '']);
  const observe = await freePort();
  const env = { DOORWARD__OBSERVE__LISTEN: `127.0.0.1:${observe}`, DOORWARD__ADMIN__LISTEN: 'off' };
  await using running = start(here(pod.containers[0].args), { cwd: folder.path, env });
  await running.until(/"event":"listening"/);
  for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
    const { path, port } = pod.containers[0][probe].httpGet;
    assert.equal(port, pod.containers[0].ports[1].name);
    assert.equal((await fetch(`http://127.0.0.1:${observe}${path}`)).status, 200, probe);
  }
  const [, ...drain] = pod.containers[0].lifecycle.preStop.exec.command;
  const drained = await start(here(drain), { cwd: folder.path }).ended;
  assert.deepEqual([drained.code, drained.out], [0, 'drained\n']);
  running.signal('SIGTERM');
  assert.equal((await running.ended).code, 0);
});

test('the library puts the same sidecar into a pod as kustomize does', async () => {
  const { manifests } = renderer.render('example', 'shop-api');
  assertSnapshot('helm-example.yaml', manifests);
  assert.deepEqual(await manifestProblems(manifests), []);
  const pod = podOf(manifests, 'shop-api');
  assertRestricted(pod);
  const committed = readFileSync(new URL('snapshots/kubernetes-example.yaml', import.meta.url), 'utf8');
  const kustomized = podOf(manifestsIn(committed), 'shop-api');
  const { imagePullPolicy, ...sidecar } = pod.initContainers[0];
  assert.equal(imagePullPolicy, 'IfNotPresent');
  assert.deepEqual(sidecar, kustomized.initContainers[0]);
  assert.deepEqual(pod.volumes, kustomized.volumes);
  assert.deepEqual(pod.containers[0].lifecycle, kustomized.containers[0].lifecycle);
  assert.equal(pod.terminationGracePeriodSeconds, kustomized.terminationGracePeriodSeconds);
});
