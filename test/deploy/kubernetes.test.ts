// What deploy/kubernetes renders to, with the real kustomize (of kubectl), and what the API server would say of it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { parseDuration } from '../../src/core/units.ts';
import { checkedConfig } from './checked.ts';
import { type Manifest, manifestProblems, manifestsIn, named } from './manifests.ts';
import { assertRestricted } from './restricted.ts';
import { assertSnapshot, committedManifests } from './snapshots.ts';

const kubernetes = fileURLToPath(new URL('../../deploy/kubernetes/', import.meta.url));
const textOf = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

/** Renders a folder; undefined without kubectl. Debian's is older than components are, so it cannot be installed. */
function render(folder: string): Manifest[] | undefined {
  try {
    return manifestsIn(execFileSync('kubectl', ['kustomize', resolve(kubernetes, folder)], { encoding: 'utf8' }));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    console.error(`NOT CHECKED: what ${folder} renders to; that needs kubectl 1.21 or later`);
    return undefined;
  }
}

// Without kubectl the committed rendering is judged.
const rendered = render('example') ?? committedManifests('kubernetes-example.yaml');
const podOf = (manifest: Manifest) => manifest.spec.template.spec;
const deployment = named(rendered, 'Deployment', 'shop-api');
const pod = podOf(deployment);
const [sidecar] = pod.initContainers;

test('the example renders to what is committed, and the API server would take all of it', async () => {
  assertSnapshot('kubernetes-example.yaml', rendered);
  assert.deepEqual(await manifestProblems(rendered), []);
});

test('the validation finds a field that does not exist, a wrong type, a missing field and an unknown kind', async () => {
  // biome-ignore lint/suspicious/noExplicitAny: about to be what its type forbids
  const copy = () => structuredClone(deployment) as any;
  const broken = copy();
  broken.spec.template.spec.initContainers[0].restartPolicies = 'Always';
  assert.match((await manifestProblems([broken])).join(), /restartPolicies/);
  const wrong = copy();
  wrong.spec.replicas = 'two';
  assert.match((await manifestProblems([wrong])).join(), /replicas/);
  const missing = copy();
  delete missing.spec.selector;
  assert.match((await manifestProblems([missing])).join(), /selector/);
  const unknown = { apiVersion: 'apps/v1', kind: 'Deploymint', metadata: { name: 'x' } };
  assert.match((await manifestProblems([unknown])).join(), /Deploymint/);
});

test('what a pod asks for is what the page on capacity plans with, here and in both charts', () => {
  const page = textOf('docs/operate/capacity.md');
  const [, request, limit] = /(\d+) MiB request, (\d+) MiB limit/.exec(page) ?? assert.fail('the page names no memory');
  const [, cpu] = /(\d+m) for a sidecar/.exec(page) ?? assert.fail('the page names no CPU');
  const planned = { requests: { cpu, memory: `${request}Mi` }, limits: { memory: `${limit}Mi` } };
  assert.deepEqual(sidecar.resources, planned);
  for (const chart of ['doorward', 'doorward-sidecar'])
    assert.deepEqual(parse(textOf(`deploy/helm/${chart}/values.yaml`)).resources, planned, chart);
});

test('the sidecar is a native one: it starts before the application and ends after it', () => {
  assert.equal(sidecar.name, 'doorward');
  assert.equal(sidecar.restartPolicy, 'Always');
  assert.equal(sidecar.startupProbe.httpGet.path, '/healthz');
  assert.equal(sidecar.livenessProbe.httpGet.path, '/healthz');
  assert.equal(sidecar.readinessProbe.httpGet.path, '/readyz');
});

test('the drain fits into the hooks, both hooks into the grace period, and the application waits as long', async () => {
  const { config } = await checkedConfig(join(kubernetes, 'example/sidecar.yaml'));
  const { delay, timeout } = config.proxy.drain;
  const [, verb, flag, wait] = sidecar.lifecycle.preStop.exec.command;
  assert.deepEqual([verb, flag], ['drain', '--wait']);
  const waitMs = parseDuration(wait) as number;
  assert.ok(delay + timeout < waitMs);
  const sleepMs = pod.containers[0].lifecycle.preStop.sleep.seconds * 1000;
  assert.ok(sleepMs >= waitMs && sleepMs < pod.terminationGracePeriodSeconds * 1000);
});

test('configuration and secrets are folders, so that a change is seen, and nothing is given in the environment', () => {
  const paths = sidecar.volumeMounts.map((one: { mountPath: string }) => one.mountPath);
  assert.deepEqual(paths, ['/etc/doorward', '/run/secrets/doorward', '/var/lib/doorward']);
  assert.ok(sidecar.volumeMounts.every((one: object) => !('subPath' in one)));
  assert.equal(sidecar.env, undefined);
  // No hash in the name: the pods keep the ConfigMap that they reload.
  assert.ok(named(rendered, 'ConfigMap', 'doorward-sidecar').data['sidecar.yaml']);
});

test('every pod passes the restricted profile of Pod Security Standards', () => {
  assertRestricted(pod);
});

test('weakness 3.4.10: from other pods only the ports of the sidecar can be reached, and the Service goes to the sidecar', () => {
  const { spec } = named(rendered, 'NetworkPolicy', 'doorward-sidecar-only');
  const labels = deployment.spec.template.metadata.labels;
  assert.equal(labels['doorward.dev/sidecar'], spec.podSelector.matchLabels['doorward.dev/sidecar']);
  assert.deepEqual(spec.policyTypes, ['Ingress']);
  assert.deepEqual(
    spec.ingress.map((one: { ports: object[]; from?: object[] }) => [one.ports, one.from !== undefined]),
    [
      [[{ protocol: 'TCP', port: 8080 }], false],
      [[{ protocol: 'TCP', port: 9902 }], true],
    ],
  );
  assert.equal(named(rendered, 'Service', 'shop-api').spec.ports[0].targetPort, 8080);
  assert.equal(pod.containers[0].env[0].value, '127.0.0.1');
});

test('Prometheus finds the sidecar: monitor, Service and pod fit each other', () => {
  const monitor = named(rendered, 'ServiceMonitor', 'doorward').spec;
  const service = named(rendered, 'Service', 'doorward-observe');
  assert.equal(
    service.metadata.labels?.['app.kubernetes.io/name'],
    monitor.selector.matchLabels['app.kubernetes.io/name'],
  );
  const [port] = service.spec.ports;
  assert.equal(monitor.endpoints[0].port, port.name);
  const ports = sidecar.ports.map((one: { containerPort: number }) => one.containerPort);
  assert.ok(ports.includes(port.targetPort));
  assert.equal(
    deployment.spec.template.metadata.labels['doorward.dev/sidecar'],
    service.spec.selector['doorward.dev/sidecar'],
  );
});

test('a Deployment without the label is left as it is', () => {
  const folder = mkdtempSync(join(import.meta.dirname, '.overlay-'));
  try {
    const plain = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'other' }, spec: { replicas: 1 } };
    writeFileSync(join(folder, 'other.yaml'), JSON.stringify(plain));
    const components = [relative(folder, join(kubernetes, 'sidecar'))];
    writeFileSync(join(folder, 'kustomization.yaml'), JSON.stringify({ resources: ['other.yaml'], components }));
    const manifests = render(folder);
    if (manifests !== undefined) assert.deepEqual(named(manifests, 'Deployment', 'other'), plain);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
