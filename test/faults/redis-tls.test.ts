// TLS to one server, to Sentinels and what they name, and to a Cluster. The certificate bears a name and no address, while
// Sentinel and Cluster announce addresses: `server_name` says what to hold it against.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { openRedis } from '../../src/stores/redis/backend.ts';
import type { RedisSettings } from '../../src/stores/redis/settings.ts';
import { charge } from '../conformance/checks.ts';
import { until } from '../revocation/until.ts';
import { testAuthority } from '../support/certificates.ts';
import { freePort } from '../support/free-port.ts';
import { launchRedis } from '../support/redis-server.ts';

const authority = testAuthority();
const { certificate, key } = authority.issue('redis.test', 'DNS:redis.test', 'serverAuth');
const trusted = { ca: authority.certificate, serverName: 'redis.test' };
const folder = mkdtempSync(join(tmpdir(), 'doorward-redis-tls-'));
after(() => {
  authority[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
});
for (const [name, text] of Object.entries({ 'ca.pem': authority.certificate, 'cert.pem': certificate, 'key.pem': key }))
  writeFileSync(join(folder, name), text);

const files = { 'tls-cert-file': 'cert.pem', 'tls-key-file': 'key.pem', 'tls-ca-cert-file': 'ca.pem' };
const tlsArgs = (port: number) => [
  ...['--port', '0', '--bind', '127.0.0.1', '--tls-port', String(port), '--tls-auth-clients', 'no'],
  ...Object.entries(files).flatMap(([setting, file]) => [`--${setting}`, join(folder, file)]),
];

const client = (port: number) =>
  new Redis({ port, host: '127.0.0.1', tls: { ca: trusted.ca, servername: trusted.serverName }, lazyConnect: true });

async function isUp(port: number): Promise<boolean> {
  const redis = client(port);
  redis.on('error', () => undefined);
  const ponged = redis
    .connect()
    .then(() => redis.ping())
    .then(() => true);
  return Promise.race([ponged, setTimeout(500, false)])
    .catch(() => false)
    .finally(() => redis.disconnect());
}

async function launch(...extra: string[]) {
  const port = await freePort();
  return launchRedis(port, (dir) => [...tlsArgs(port), '--dir', dir, '--save', '', ...extra], isUp);
}

async function works(settings: RedisSettings): Promise<void> {
  await using backend = openRedis(settings);
  assert.equal(await backend.ready(10_000), true);
  const { results } = await backend.checks.check([[charge(5, 60_000)]]);
  assert.equal((results[0] as readonly number[])[0], 4);
  await using _watch = await backend.revocations.watch(() => undefined);
}

async function isRefused(settings: RedisSettings): Promise<void> {
  await using backend = openRedis(settings);
  assert.equal(await backend.ready(700), false);
}

const shared = { prefix: 't', timeoutMs: 2000 };

test('one server: its certificate must be of the CA and bear the name', async () => {
  await using server = await launch();
  const url = `rediss://127.0.0.1:${server.port}`;
  await works({ ...shared, url, tls: trusted });
  await isRefused({ ...shared, url, tls: { ca: trusted.ca } });
  await isRefused({ ...shared, url, tls: { serverName: trusted.serverName } });
});

test('a connection closed in the midst of a refused handshake leaves no error that nobody hears', async () => {
  await using server = await launch();
  const url = `rediss://127.0.0.1:${server.port}`;
  // Whatever nobody hears is an uncaught exception, and fails the test.
  const close = async (_: unknown, at: number) => {
    const backend = openRedis({ ...shared, url, tls: { ca: trusted.ca } });
    await setTimeout(at / 4);
    await backend[Symbol.asyncDispose]();
  };
  await Promise.all(Array.from({ length: 200 }, close));
  await setTimeout(300);
});

test('Sentinels and what they name are both held to it', async () => {
  await using server = await launch();
  const port = await freePort();
  await using _sentinel = await launchRedis(
    port,
    (dir) => {
      const args = tlsArgs(port);
      const lines = args.flatMap((word, at) => (at % 2 ? [] : [`${word.slice(2)} ${args[at + 1]}`]));
      lines.push('tls-replication yes', `dir ${dir}`, `sentinel monitor main 127.0.0.1 ${server.port} 1`);
      writeFileSync(join(dir, 'sentinel.conf'), `${lines.join('\n')}\n`);
      return [join(dir, 'sentinel.conf'), '--sentinel'];
    },
    isUp,
  );
  const sentinel = { name: 'main', nodes: [{ host: '127.0.0.1', port }] };
  await works({ ...shared, sentinel: { ...sentinel, tls: trusted }, tls: trusted });
  await isRefused({ ...shared, sentinel, tls: trusted });
  await isRefused({ ...shared, sentinel: { ...sentinel, tls: trusted } });
  await isRefused({ ...shared, sentinel: { ...sentinel, tls: trusted }, tls: { ca: trusted.ca } });
});

test('every node of a Cluster is held to it', async () => {
  const bus = await freePort();
  const args = ['--cluster-enabled', 'yes', '--tls-cluster', 'yes', '--cluster-port', String(bus)];
  await using server = await launch(...args);
  const admin = client(server.port);
  await admin.connect();
  await admin.call('CLUSTER', 'ADDSLOTSRANGE', 0, 16_383);
  await until(async () => String(await admin.call('CLUSTER', 'INFO')).includes('cluster_state:ok'));
  admin.disconnect();
  const cluster = { nodes: [{ host: '127.0.0.1', port: server.port }] };
  await works({ ...shared, cluster, tls: trusted });
  await isRefused({ ...shared, cluster, tls: { ca: trusted.ca } });
  await isRefused({ ...shared, cluster });
});
