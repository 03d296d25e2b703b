// `postgres.tls` against real servers with TLS: the right authority and name, another authority, another name, and a server
// without TLS, which would get the password in the clear. Each server listens on a loopback address of its own, because the
// port of private servers is fixed; Linux has 16 million of them.
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { chmodSync, chownSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { unprivilegedAccount } from '../../src/stores/postgres/embedded.ts';
import { eventually } from '../rows/eventually.ts';
import { type TestAuthority, testAuthority } from '../support/certificates.ts';
import { openTestDatabase, postgresConfig, startPostgres } from '../support/postgres-server.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar } from '../support/sidecar.ts';

/** A server on an address of its own, with a certificate for `names` (undefined: the address), or without TLS. */
async function tlsServer(closing: AsyncDisposableStack, authority: TestAuthority | undefined, names?: string) {
  const address = `127.${randomInt(64, 250)}.${randomInt(1, 250)}.${randomInt(2, 250)}`;
  const server = closing.use(await startPostgres(18, { listen_addresses: address }));
  const database = closing.use(await openTestDatabase({ server }));
  if (authority !== undefined) {
    const { certificate, key } = authority.issue('postgres', names ?? `IP:${address}`, 'serverAuth');
    const owner = unprivilegedAccount();
    for (const [file, text] of [
      ['server.crt', certificate],
      ['server.key', key],
    ] as const) {
      const path = join(server.folder, file);
      writeFileSync(path, text);
      chmodSync(path, 0o600);
      if (owner !== undefined) chownSync(path, owner.uid, owner.gid);
    }
    await database.sql`alter system set ssl = on`;
    await database.sql`select pg_reload_conf()`;
    await eventually(async () => (await database.sql`show ssl`)[0]?.ssl === 'on', 10_000);
  }
  const url = new URL(database.settings.url);
  url.searchParams.delete('host');
  url.hostname = address;
  return { database, url: url.href };
}

/** A sidecar that is told to reach this server under this authority. */
async function reached(closing: AsyncDisposableStack, world: Awaited<ReturnType<typeof tlsServer>>, ca: string) {
  const upstream = closing.use(await recordingUpstream());
  const sidecar = closing.use(
    await startSidecar(upstream.url, {
      routes: { all: { match: { prefix: '/' }, auth: 'none' } },
      ...postgresConfig(world.database, { url: { value: world.url }, tls: { ca: { value: ca } }, timeout: '2s' }),
    }),
  );
  const status = async () => {
    const body = (await (await fetch(`${sidecar.observeUrl}/readyz`)).json()) as {
      components: { postgres: { status: string } };
    };
    return body.components.postgres.status;
  };
  const connections = async () => {
    const rows = await world.database.sql`
      select ssl from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'doorward'`;
    return rows.map(({ ssl }) => Boolean(ssl));
  };
  return { sidecar, status, connections };
}

test('postgres.tls: with the right authority and name every connection is TLS', async () => {
  await using closing = new AsyncDisposableStack();
  using authority = testAuthority();
  const it = await reached(closing, await tlsServer(closing, authority), authority.certificate);
  await eventually(async () => (await it.status()) === 'up', 20_000);
  const connections = await it.connections();
  assert.ok(connections.length > 0 && connections.every(Boolean), JSON.stringify(connections));
});

const refused = [
  { name: 'a certificate of another authority', signed: 'other', names: undefined },
  { name: 'a certificate of the authority for another name', signed: 'ours', names: 'DNS:localhost,DNS:db.example' },
  { name: 'a server without TLS', signed: undefined, names: undefined },
] as const;

for (const { name, signed, names } of refused) {
  test(`postgres.tls: ${name} is refused before a password is sent, and the data plane serves`, async () => {
    await using closing = new AsyncDisposableStack();
    using ours = testAuthority();
    using other = testAuthority();
    const world = await tlsServer(closing, signed && { ours, other }[signed], names);
    const it = await reached(closing, world, ours.certificate);
    await eventually(
      async () => it.sidecar.logged().some(({ event, store }) => event === 'store_down' && store === 'postgres'),
      20_000,
    );
    assert.equal(await it.status(), 'down');
    assert.deepEqual(await it.connections(), []);
    assert.equal((await fetch(`${it.sidecar.proxyUrl}/x`)).status, 200);
    const line = it.sidecar.logged().find(({ event }) => event === 'store_down');
    assert.match(String(line?.problem), /PostgreSQL does not answer \(\w+\)/);
  });
}
