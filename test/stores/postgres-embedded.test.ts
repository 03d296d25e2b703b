// `postgres: {embedded: true}`: a private server that keeps its data, is reachable by nobody else, and ends with the program.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { scratchFolder, start } from '../cli/processes.ts';
import { eventually } from '../rows/eventually.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { configFor } from '../support/sidecar.ts';

const SOON = 15_000;

async function world() {
  const opened = new AsyncDisposableStack();
  const upstream = opened.use(await recordingUpstream());
  const folder = opened.use(scratchFolder());
  const file = folder.file('sidecar.yaml');
  const config = configFor(upstream.url, { postgres: { embedded: true } });
  writeFileSync(file, JSON.stringify(config));
  return {
    folder,
    begin: () => start(['run', '--config', file], { cwd: folder.path }),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

const folders = new Set<string>();
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

type Program = ReturnType<typeof start>;

/** As root the data stands outside of the folder of the test. */
async function listening(program: Program): Promise<{ adminUrl: string; data: string }> {
  const [, data = ''] = await program.until(/"folder":"([^"]+)".*"postgres_embedded"/);
  folders.add(data);
  const [, adminUrl = ''] = await program.until(/"admin":"(http:[^"]+)".*"listening"/);
  return { adminUrl, data };
}

async function call(folder: string, adminUrl: string, body?: object) {
  const authorization = `Bearer ${readFileSync(join(folder, '.doorward', 'admin.token'), 'utf8').trim()}`;
  const sent = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
  const headers = { authorization, 'content-type': 'application/json' };
  const answer = await fetch(`${adminUrl}/v1/revocations`, {
    ...sent,
    headers: body === undefined ? { authorization } : headers,
  });
  return (await answer.json()) as { applied?: string; items?: { revoked_id: string }[] };
}

const answers = (path: string) =>
  new Promise<boolean>((resolve) => {
    const socket = connect({ path }, () => resolve(true)).on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });

const alice = { kind: 'subject', issuer: 'https://id.test/', id: 'alice', until: 'forever', reason: 'leaked' };

test('data is kept over a restart, the server ends with the program, and nobody else reaches it', async () => {
  await using all = await world();
  let data: string;
  {
    await using program = all.begin();
    const first = await listening(program);
    data = first.data;
    assert.equal((await call(all.folder.path, first.adminUrl, alice)).applied, 'all');
    assert.equal(statSync(data).mode & 0o077, 0, 'nobody else enters its folder');
    assert.equal(statSync(join(all.folder.path, '.doorward', 'postgres.password')).mode & 0o777, 0o600);
    assert.ok(!/listen_addresses|5432.*127\.0\.0\.1/.test(program.out()));
    program.signal('SIGTERM');
    assert.equal((await program.ended).code, 0);
    assert.equal(existsSync(join(data, 'postmaster.pid')), false, 'it ended, and properly');
  }
  await using program = all.begin();
  const second = await listening(program);
  assert.equal(second.data, data);
  assert.deepEqual(
    (await call(all.folder.path, second.adminUrl)).items?.map((item) => item.revoked_id),
    ['alice'],
  );
});

test('killed, the program takes its server along, and the next start finds what was acknowledged', async () => {
  await using all = await world();
  let data: string;
  {
    await using program = all.begin();
    const first = await listening(program);
    data = first.data;
    assert.equal((await call(all.folder.path, first.adminUrl, alice)).applied, 'all');
    program.signal('SIGKILL');
    await program.ended;
  }
  await using program = all.begin();
  const second = await listening(program);
  assert.deepEqual(
    (await call(all.folder.path, second.adminUrl)).items?.map((item) => item.revoked_id),
    ['alice'],
  );
  program.signal('SIGKILL');
  await program.ended;
  await eventually(async () => !(await answers(join(data, '.s.PGSQL.5432'))), SOON);
});

test('a postmaster.pid whose number another program got does not stop the start', async () => {
  await using all = await world();
  let data: string;
  {
    await using program = all.begin();
    data = (await listening(program)).data;
    program.signal('SIGTERM');
    await program.ended;
  }
  // This test is certainly alive, and no PostgreSQL.
  writeFileSync(join(data, 'postmaster.pid'), `${process.pid}\n${data}\n1\n5432\n${data}\n\n`);
  await using program = all.begin();
  await listening(program);
});
