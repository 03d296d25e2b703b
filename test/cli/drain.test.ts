// A drain as orchestrators see it: the program gets SIGTERM, serves on for `drain.delay` while it asks connections to go, takes
// no more, finishes what it has, hands what was recorded to PostgreSQL and ends with 0.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { open } from '../attacks/streams.ts';
import { eventually, head } from '../attacks/world.ts';
import { accepts } from '../support/daemon.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { parseResponses } from '../support/raw-client.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { configFor } from '../support/sidecar.ts';
import { scratchFolder, start } from './processes.ts';

const SOON_MS = 20_000;
const routes = { all: { match: { prefix: '/' }, auth: 'none' } };

/** Starts the program in `folder` and reads from its log where it listens. */
async function run(folder: ReturnType<typeof scratchFolder>, config: object) {
  writeFileSync(folder.file('sidecar.yaml'), JSON.stringify(config));
  const program = start(['run'], { cwd: folder.path });
  const line = /"proxy":"([^"]+)","admin":"([^"]+)","observe":"([^"]+)".*"event":"listening"/;
  const [, proxy = '', admin = '', observe = ''] = await program.until(line);
  return { program, port: Number(new URL(proxy).port), admin, observe };
}

test('SIGTERM: served for drain.delay with Connection: close, then nothing new is taken, what is under way is finished, exit 0', async () => {
  using folder = scratchFolder();
  const held: ServerResponse[] = [];
  await using upstream = await recordingUpstream((request, response) => {
    if (request.url === '/slow') held.push(response);
    else response.end('ok');
  });
  const proxy = { listen: '127.0.0.1:0', drain: { delay: '5s', timeout: '30s' } };
  const { program, port, observe } = await run(folder, configFor(upstream.url, { routes, proxy }));
  await using _program = program;
  using kept = open(port, head('GET /before'));
  await eventually(() => parseResponses(kept.text()).length === 1, SOON_MS);
  assert.equal(parseResponses(kept.text())[0]?.headers.connection, 'keep-alive');
  using slow = open(port, head('GET /slow'));
  await eventually(() => held.length === 1, SOON_MS);

  program.signal('SIGTERM');
  await program.until(/"event":"drain_began"/);
  kept.socket.write(head('GET /during'));
  using fresh = open(port, head('GET /fresh'));
  for (const client of [kept, fresh]) {
    await eventually(() => client.closed, SOON_MS);
    const last = parseResponses(client.text()).at(-1);
    assert.deepEqual([last?.status, last?.body, last?.headers.connection], [200, 'ok', 'close']);
  }
  assert.equal(parseResponses(kept.text()).length, 2);
  assert.equal((await fetch(`${observe}/readyz`)).status, 503);

  await eventually(async () => !(await accepts(port)), SOON_MS);
  assert.equal(slow.text(), '', 'the slow one is under way still');
  held[0]?.end('late');
  const { code, err } = await program.ended;
  assert.deepEqual([code, err], [0, '']);
  assert.equal(parseResponses(slow.text())[0]?.body, 'late');
  assert.match(program.out(), /"complete":true,.*"event":"drain_ended"/);
});

test('SIGTERM: what the audit log recorded before is in PostgreSQL when the program has ended', async () => {
  using folder = scratchFolder();
  await using database = await openTestDatabase();
  const { sql } = database;
  await using upstream = await recordingUpstream();
  const stores = postgresConfig(database, { timeout: '30s' });
  const { program, admin } = await run(folder, configFor(upstream.url, { routes, ...stores }));
  await using _program = program;
  const token = readFileSync(folder.file('.doorward/admin.token'), 'utf8').trim();
  // PostgreSQL takes no event until the drain is over.
  const locked = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const lock = sql.begin(async (held) => {
    await held`lock table audit_event in access exclusive mode`;
    locked.resolve();
    await release.promise;
  });
  await locked.promise;
  const answer = await fetch(`${admin}/v1/revocations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ kind: 'subject', issuer: 'test', id: 'mallory', reason: 'test' }),
  });
  assert.equal(answer.status, 201);
  program.signal('SIGTERM');
  await program.until(/"event":"drain_ended"/);
  release.resolve();
  await lock;
  assert.deepEqual(await program.ended.then(({ code, err }) => [code, err]), [0, '']);
  const events = await sql`select subject from audit_event where type = 'revocation.added'`;
  assert.deepEqual([...events], [{ subject: 'mallory' }]);
});
