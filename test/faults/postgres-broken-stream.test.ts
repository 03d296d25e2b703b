// A connection to PostgreSQL whose bytes are not those that PostgreSQL sent. Its protocol ties answers to statements by order
// alone, and the driver trusts what it reads: what it stumbles over must be an outage, never a defect, and the connection is left.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createConnection, createServer } from 'node:net';
import { test } from 'node:test';
import { SidecarError } from '../../src/core/errors.ts';
import { PostgresPool } from '../../src/stores/postgres/pool.ts';
import { until } from '../revocation/until.ts';
import { openTestDatabase } from '../support/postgres-server.ts';
import { type Mangling, startRelay } from '../support/relay.ts';

/** A row of one column, "1", that nobody asked for. */
const ROW = Buffer.from('440000000b00010000000131', 'hex');

/** The way to the server, and the same way over TCP. */
async function world() {
  const database = await openTestDatabase();
  const at = new URL(database.settings.url);
  const target = { path: `${at.searchParams.get('host')}/.s.PGSQL.5432` };
  const through = (port: number, timeoutMs: number, connections = 10) => {
    const url = `postgres://${at.username}:${at.password}@127.0.0.1:${port}${at.pathname}`;
    return new PostgresPool({ ...database.settings, url, timeoutMs, connections });
  };
  return { target, through, [Symbol.asyncDispose]: () => database[Symbol.asyncDispose]() };
}

/** A COMMIT whose answer is that of another statement. */
const miscommitted = (chunk: Buffer) => Buffer.from(chunk.toString('latin1').replace('COMMIT\0', 'SELECT\0'), 'latin1');

for (const [what, spoil] of [
  ['a row that nobody asked for', (chunk: Buffer) => Buffer.concat([ROW, chunk])],
  ['a COMMIT that is answered as another statement', miscommitted],
] as const) {
  test(`${what} is an outage, and the next call has another connection`, async () => {
    await using w = await world();
    let strange = false;
    const relay = createServer((client) => {
      const server = createConnection(w.target);
      client.on('error', () => server.destroy()).pipe(server);
      server.on('error', () => client.destroy()).on('close', () => client.destroy());
      server.on('data', (chunk: Buffer) => {
        const passed = strange ? spoil(chunk) : chunk;
        client.write(passed);
        strange &&= passed.equals(chunk);
      });
    }).listen(0, '127.0.0.1');
    relay.unref();
    await once(relay, 'listening');
    await using pool = w.through((relay.address() as AddressInfo).port, 1000, 1);
    const pid = async () => (await pool.run('test', (sql) => sql`select pg_backend_pid() as pid`))[0]?.pid;
    const before = await pid();
    assert.equal(await pid(), before);
    strange = true;
    await assert.rejects(pid(), { kind: 'store_unavailable' });
    assert.notEqual(await pid(), before, 'nothing is read from that connection any more');
  });
}

for (const how of ['repeat', 'swap'] satisfies Mangling[]) {
  test(`a stream from PostgreSQL that is broken (${how}) is an outage, and over with the stream`, async () => {
    await using w = await world();
    await using relay = await startRelay(w.target);
    await using pool = w.through(relay.port, 500);
    const ask = (n: number) =>
      // Another statement each time: the driver asks for its columns first.
      pool.read('test', (sql) => sql`select ${n}::int as ${sql(`n${n}`)}, ${'x'.repeat(n)}::text as filler`);
    const isWhole = () =>
      ask(1).then(
        () => true,
        () => false,
      );
    await until(isWhole, 20_000);
    relay.mangle(how, 'down');
    for (const outcome of await Promise.allSettled(Array.from({ length: 100 }, (_, n) => ask(n)))) {
      if (outcome.status === 'rejected') assert.ok(outcome.reason instanceof SidecarError, outcome.reason);
    }
    relay.heal();
    await until(isWhole, 20_000);
  });
}
