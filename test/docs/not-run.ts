// Every block of docs/ that nobody runs: page, reason, first line. What it says is tested in another way, or cannot be had here
// (a container engine, a cluster, systemd as process 1, somebody's own system).

/** Page, reason, first line, in the order of the pages. */
export const notRun: readonly (readonly [page: string, reason: string, firstLine: string])[] = [
  [
    'attack.md',
    'takes a minute, at a system of yours',
    'doorward attack --url https://app.example.com --path /api/orders --open-path /healthz --token-file token',
  ],
  ['deploy/compose.md', 'needs a container engine', 'docker compose up --build --detach --wait'],
  ['deploy/image.md', 'needs a container engine', 'docker build -f deploy/image/Dockerfile -t doorward:0.1.0 .'],
  [
    'deploy/image.md',
    'needs a container engine',
    'docker run --read-only --cap-drop ALL --security-opt no-new-privileges --stop-timeout 40 \\',
  ],
  [
    'deploy/kubernetes.md',
    'needs a cluster',
    'kubectl create secret generic doorward-secrets --namespace shop --from-file=redis-url=./redis-url',
  ],
  [
    'deploy/kubernetes.md',
    'needs a cluster',
    'kubectl create secret generic doorward-publishing --from-file=publish.key=./publishing/publish.key --from-file=publish.pub=./publishing/publish.pub',
  ],
  ['deploy/kubernetes.md', 'needs helm', 'helm lint deploy/helm/doorward'],
  ['deploy/systemd.md', 'installs and runs in the foreground', 'npm ci && npm run build'],
  [
    'deploy/systemd.md',
    'needs systemd as process 1',
    'install -d /opt/doorward/bin && cp -R dist node_modules package.json README.md /opt/doorward/',
  ],
  [
    'getting-started.md',
    'the tests run in a clone that has this behind it',
    'git clone REPOSITORY doorward && cd doorward && npm ci && cd ..',
  ],
  ['operate/capacity.md', 'loads the machine for minutes', 'npm run bench -- --smoke'],
  ['runbook.md', 'needs your Prometheus', 'promtool check config /etc/prometheus/prometheus.yml'],
  ['runbook.md', 'needs a cluster', 'kubectl logs --previous POD --container doorward'],
  ['runbook.md', 'needs a cluster', 'kubectl describe pod POD'],
  ['runbook.md', 'ends the replica', 'doorward drain --wait'],
  ['runbook.md', 'needs a cluster', 'kubectl top pod POD --containers'],
];
