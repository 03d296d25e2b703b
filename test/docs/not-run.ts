// Every block of a page that nobody runs: page, reason, first line. What it says is tested in another way, or cannot be had here
// (a container engine, a cluster, systemd as process 1, somebody's own system).

/** Page, reason, first line, in the order of the pages. */
export const notRun: readonly (readonly [page: string, reason: string, firstLine: string])[] = [
  [
    'CONTRIBUTING.md',
    '.ci/run runs it, the tests among them',
    'npm ci                        # also installs the right Node (26) next to whatever you have',
  ],
  [
    'CONTRIBUTING.md',
    'loads the machine for a minute',
    'npm run soak -- --smoke                 # faults under steady traffic; without the flag 10 minutes',
  ],
  ['docs/deploy/compose.md', 'needs a container engine', 'docker compose up --build --detach --wait'],
  ['docs/deploy/image.md', 'needs a container engine', 'docker build -f deploy/image/Dockerfile -t doorward:0.1.0 .'],
  [
    'docs/deploy/image.md',
    'needs a container engine',
    'docker run --read-only --cap-drop ALL --security-opt no-new-privileges --stop-timeout 40 \\',
  ],
  [
    'docs/deploy/kubernetes.md',
    'needs a cluster',
    'kubectl create secret generic doorward-secrets --namespace shop --from-file=redis-url=./redis-url',
  ],
  [
    'docs/deploy/kubernetes.md',
    'needs a cluster',
    'kubectl create secret generic doorward-publishing --from-file=publish.key=./publishing/publish.key --from-file=publish.pub=./publishing/publish.pub',
  ],
  ['docs/deploy/kubernetes.md', 'needs helm', 'helm lint deploy/helm/doorward'],
  [
    'docs/deploy/systemd.md',
    'needs systemd as process 1',
    'systemctl daemon-reload && systemctl enable --now doorward',
  ],
  ['docs/operate/capacity.md', '.ci/run runs it', 'npm run bench -- --smoke'],
  ['docs/runbook.md', 'needs a cluster', 'kubectl logs --previous POD --container doorward'],
  ['docs/runbook.md', 'needs a cluster', 'kubectl describe pod POD'],
  ['docs/runbook.md', 'needs a cluster', 'kubectl top pod POD --containers'],
];
