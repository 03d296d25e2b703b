// The restricted profile of the Pod Security Standards, as the admission controller of Kubernetes checks it.
import assert from 'node:assert/strict';

const VOLUMES = new Set([
  'configMap',
  'csi',
  'downwardAPI',
  'emptyDir',
  'ephemeral',
  'persistentVolumeClaim',
  'projected',
  'secret',
]);

// biome-ignore lint/suspicious/noExplicitAny: a PodSpec as it was rendered and validated before
type PodSpec = any;

/** Fails with the container and the field when a pod with this spec would not be admitted to a `restricted` namespace. */
export function assertRestricted(pod: PodSpec): void {
  for (const field of ['hostNetwork', 'hostPID', 'hostIPC']) assert.ok(!pod[field], field);
  for (const { name, ...source } of pod.volumes ?? [])
    for (const kind of Object.keys(source)) assert.ok(VOLUMES.has(kind), `volume ${name} is ${kind}`);
  const outer = pod.securityContext ?? {};
  for (const container of [...(pod.initContainers ?? []), ...pod.containers]) {
    const context = container.securityContext ?? {};
    const say = (field: string) => `${container.name}: ${field}`;
    assert.equal(context.allowPrivilegeEscalation, false, say('allowPrivilegeEscalation'));
    assert.deepEqual(context.capabilities?.drop, ['ALL'], say('capabilities.drop'));
    assert.ok(
      (context.capabilities.add ?? []).every((one: string) => one === 'NET_BIND_SERVICE'),
      say('capabilities.add'),
    );
    assert.ok(!context.privileged, say('privileged'));
    assert.equal(context.runAsNonRoot ?? outer.runAsNonRoot, true, say('runAsNonRoot'));
    assert.notEqual(context.runAsUser ?? outer.runAsUser, 0, say('runAsUser'));
    const seccomp = (context.seccompProfile ?? outer.seccompProfile)?.type;
    assert.ok(seccomp === 'RuntimeDefault' || seccomp === 'Localhost', say('seccompProfile'));
    for (const port of container.ports ?? []) assert.ok(!port.hostPort, say('hostPort'));
    // Beyond the profile: nothing of ours writes to its root.
    assert.equal(context.readOnlyRootFilesystem, true, say('readOnlyRootFilesystem'));
  }
}
