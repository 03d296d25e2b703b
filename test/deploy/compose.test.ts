// deploy/compose: the file as docker-compose reads it, its networks and mounts, and the same configuration, application and
// Redis command line as processes of this machine. Containers need an engine with a daemon, which is not here.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { run, scratchFolder, start } from '../cli/processes.ts';
import { freePort } from '../support/free-port.ts';
import { openTestDatabase } from '../support/postgres-server.ts';
import { startRedis } from '../support/redis-server.ts';
import { ensureCommand } from '../support/system-packages.ts';
import { checkedConfig } from './checked.ts';

const compose = fileURLToPath(new URL('../../deploy/compose/', import.meta.url));
const packageJson = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
const file = parse(readFileSync(join(compose, 'compose.yaml'), 'utf8'));

test('docker-compose takes the file, and refuses one with a key or a service that does not exist', () => {
  ensureCommand('docker-compose', 'version');
  using folder = scratchFolder();
  // The one key that this release (1.29, the last without a plugin) does not know yet.
  const text = readFileSync(join(compose, 'compose.yaml'), 'utf8').replace(/^name: doorward\n/m, '');
  const config = (changed: string) => {
    writeFileSync(folder.file('compose.yaml'), changed);
    return execFileSync('docker-compose', ['--file', folder.file('compose.yaml'), 'config'], { stdio: 'pipe' });
  };
  assert.deepEqual(Object.keys(parse(config(text).toString()).services).sort(), Object.keys(file.services).sort());
  assert.throws(() => config(text.replace('read_only: true', 'readonly: true')), /readonly/);
  assert.throws(() => config(text.replace('depends_on: [prometheus]', 'depends_on: [prometheos]')), /prometheos/);
});

test('every file that is mounted is there, every secret is made by secrets.sh, and made once', () => {
  using folder = scratchFolder();
  cpSync(join(compose, 'secrets.sh'), folder.file('secrets.sh'));
  const names = Object.values(file.secrets as Record<string, { file: string }>).map((one) => one.file);
  for (const service of Object.values(file.services) as { volumes?: string[] }[])
    for (const volume of service.volumes ?? []) {
      const source = volume.split(':')[0] as string;
      if (source.startsWith('.')) assert.ok(existsSync(resolve(compose, source)), source);
      else assert.ok(source in file.volumes, source);
    }
  execFileSync('sh', [folder.file('secrets.sh')]);
  const made = names.map((name) => readFileSync(resolve(folder.path, name), 'utf8'));
  execFileSync('sh', [folder.file('secrets.sh')]);
  assert.deepEqual(
    names.map((name) => readFileSync(resolve(folder.path, name), 'utf8')),
    made,
  );
  assert.equal(statSync(folder.file('secrets')).mode & 0o777, 0o700);
  // What git must never see.
  assert.match(readFileSync(join(compose, '.gitignore'), 'utf8'), /^secrets\/$/m);
});

test('weakness 2.3.13: nobody reaches application and stores but through Doorward, and nothing is published beyond this machine', () => {
  const { services, networks } = file;
  const on = (network: string) => Object.keys(services).filter((name) => services[name].networks.includes(network));
  assert.deepEqual(on('application'), ['doorward', 'application']);
  assert.deepEqual(on('stores'), ['doorward', 'redis', 'postgres']);
  assert.ok(networks.application.internal && networks.stores.internal);
  for (const name of Object.keys(services))
    for (const network of services[name].networks) assert.ok(network in networks, network);
  for (const [name, { ports = [], image, build }] of Object.entries(services) as [string, Record<string, string[]>][]) {
    for (const port of ports) assert.match(port, /^127\.0\.0\.1:/, name);
    assert.doesNotMatch(String(image), /:latest$|^[^:]+$/, name);
    assert.equal(build !== undefined, name === 'doorward');
  }
  for (const name of ['doorward', 'application']) {
    assert.equal(services[name].read_only, true);
    assert.deepEqual(services[name].cap_drop, ['ALL']);
    assert.deepEqual(services[name].security_opt, ['no-new-privileges:true']);
  }
  assert.equal(services.doorward.image, `doorward:${packageJson.version}`);
  assert.match(services.application.image, new RegExp(`^node:${packageJson.devDependencies.node}-`));
});

test('Prometheus takes its configuration', () => {
  ensureCommand('promtool', '--version', 'prometheus');
  using folder = scratchFolder();
  for (const volume of file.services.prometheus.volumes as string[]) {
    const [source, target] = volume.split(':') as [string, string];
    if (source.startsWith('.')) cpSync(resolve(compose, source), folder.file(basename(target)));
  }
  const said = execFileSync('promtool', ['check', 'config', folder.file('prometheus.yml')], { encoding: 'utf8' });
  assert.match(said, /SUCCESS: \d\d rules found/);
});

test('Grafana is given the dashboard where its provisioning looks for it', () => {
  const provisioned = readFileSync(join(compose, 'grafana/provisioning/dashboards/doorward.yaml'), 'utf8');
  const { path } = parse(provisioned).providers[0].options;
  const mounts = (file.services.grafana.volumes as string[]).map((volume) => volume.split(':'));
  const [source] = mounts.find(([, target]) => target?.startsWith(`${path}/`)) ?? [];
  assert.equal(JSON.parse(readFileSync(resolve(compose, source as string), 'utf8')).uid, 'doorward');
});

test('the same configuration, application and Redis command line work as processes', async () => {
  using folder = scratchFolder();
  const { command } = file.services.redis;
  assert.equal(command[0], 'redis-server');
  await using redis = await startRedis(...command.slice(1));
  await using database = await openTestDatabase({ migrated: false });
  cpSync(join(compose, 'secrets.sh'), folder.file('secrets.sh'));
  execFileSync('sh', [folder.file('secrets.sh')]);
  writeFileSync(folder.file('secrets/database-url'), `${database.settings.url}\n`);
  const port = await freePort();
  const application = spawn(process.execPath, [join(compose, 'application/application.mjs')], {
    env: { PORT: `${port}`, HOST: '127.0.0.1' },
    stdio: 'ignore',
  });
  try {
    const proxy = await freePort();
    const config = folder.file('sidecar.yaml');
    // Only names of hosts and places of files differ from what stands in the container.
    const text = readFileSync(join(compose, 'doorward/sidecar.yaml'), 'utf8')
      .replace('http://application:3000', `http://127.0.0.1:${port}`)
      .replace('0.0.0.0:8080', `127.0.0.1:${proxy}`)
      .replace('http://localhost:8080', `http://localhost:${proxy}`)
      .replaceAll('/run/secrets/', `${folder.path}/secrets/`);
    writeFileSync(config, text);
    const env = {
      REDIS_URL: redis.url,
      DOORWARD__OBSERVE__LISTEN: '127.0.0.1:0',
      DOORWARD__ADMIN__LISTEN: '127.0.0.1:0',
    };
    await using doorward = start(['run', '--config', config], { cwd: folder.path, env });
    await doorward.until(/"event":"listening"/);
    const issued = await run(['token', 'issue', '--subject', 'alice', '--config', config], { cwd: folder.path, env });
    assert.equal(issued.code, 0, issued.err);
    const get = (path: string, headers = {}) => fetch(`http://127.0.0.1:${proxy}${path}`, { headers });
    while ((await get('/healthz')).status === 502) await sleep(50);
    assert.equal((await get('/orders')).status, 401);
    const answer = await get('/orders', { authorization: `Bearer ${issued.out.trim()}`, 'x-auth-subject': 'mallory' });
    const { path, caller } = (await answer.json()) as { path: string; caller: Record<string, string> };
    assert.deepEqual([answer.status, path, caller['x-auth-subject']], [200, '/orders', 'alice']);
    // As a client would: the OAuth endpoints are on the same port.
    const metadata = await fetch(`http://localhost:${proxy}/.well-known/oauth-authorization-server`);
    assert.equal(metadata.status, 200);
    doorward.signal('SIGTERM');
    assert.equal((await doorward.ended).code, 0);
  } finally {
    const exit = once(application, 'exit');
    application.kill('SIGTERM');
    assert.deepEqual(await exit, [0, null]);
  }
});

test('the configuration holds for production', async () => {
  using folder = scratchFolder();
  cpSync(join(compose, 'secrets.sh'), folder.file('secrets.sh'));
  execFileSync('sh', [folder.file('secrets.sh')]);
  const read = (name: string) => readFileSync(folder.file(`secrets/${name}`), 'utf8');
  const { config } = await checkedConfig(
    join(compose, 'doorward/sidecar.yaml'),
    { REDIS_URL: file.services.doorward.environment.REDIS_URL },
    { '/run/secrets/database-url': read('database-url'), '/run/secrets/kek': read('kek') },
  );
  const { delay, timeout } = config.proxy.drain;
  assert.ok(delay + timeout < Number.parseInt(file.services.doorward.stop_grace_period, 10) * 1000);
});
