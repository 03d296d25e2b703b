// The disk of the audit spool is really full (ENOSPC): the real program with its state folder on 64 KiB of tmpfs, which is
// mounted in a mount namespace of the program's own and goes with it. No change that was confirmed is missing in the audit log.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { Agent, request } from 'undici';
import { eventually } from '../rows/eventually.ts';
import { openTestDatabase, postgresConfig, type TestDatabase } from '../support/postgres-server.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { configFor, tokenFor } from '../support/sidecar.ts';

const MAIN = resolve(import.meta.dirname, '../../src/main.ts');
const SOON_MS = 30_000;
/** Also without root, where the system lets users have namespaces; fails where neither is possible. */
const UNSHARE = process.getuid?.() === 0 ? ['--mount'] : ['--mount', '--map-root-user'];

/** The program, with its whole state on so small a disk. */
async function startOnSmallDisk(upstreamUrl: string, database: TestDatabase) {
  const folder = mkdtempSync(join(tmpdir(), 'doorward-disk-'));
  const state = join(folder, 'state');
  mkdirSync(state);
  const file = join(folder, 'sidecar.yaml');
  writeFileSync(file, JSON.stringify({ ...configFor(upstreamUrl, postgresConfig(database)), state_dir: state }));
  const mounting = 'mount -t tmpfs -o size=64k,mode=700 tmpfs "$0" && exec "$@"';
  const args = [...UNSHARE, 'sh', '-c', mounting, state, process.execPath, MAIN, 'run', '--config', file];
  const child = spawn('unshare', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  let log = '';
  const listening = Promise.withResolvers<{ proxy: string }>();
  void ended.then(([code]) => listening.reject(new Error(`no program on a disk of its own (${code}): ${log}`)));
  child.stdout.on('data', (chunk) => {
    log += chunk;
    const line = log.split('\n').find((one) => one.includes('"event":"listening"') && one.endsWith('}'));
    if (line !== undefined) listening.resolve(JSON.parse(line));
  });
  const { proxy } = await listening.promise;
  const inside = (name: string) => join(`/proc/${child.pid}/root${state}`, name);
  const operator = new Agent({ connect: { socketPath: inside('admin.sock') } });
  return {
    proxy: proxy.startsWith('http') ? proxy : `http://${proxy}`,
    log: () => log,
    inside,
    /** Reloads the configuration: a change that nothing but the audit log has to do with. */
    async change() {
      const answer = await request('http://localhost/v1/config/reload', { method: 'POST', dispatcher: operator });
      const text = await answer.body.text();
      return { status: answer.statusCode, text, requestId: String(answer.headers['x-request-id']) };
    },
    async read(path: string) {
      const answer = await request(`http://localhost${path}`, { dispatcher: operator });
      return (await answer.body.json()) as Record<string, unknown>;
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
      await operator.destroy();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Writes until nothing fits any more. */
function fill(path: string): void {
  const filler = openSync(path, 'a');
  assert.throws(
    () => {
      for (;;) writeSync(filler, Buffer.alloc(1024));
    },
    { code: 'ENOSPC' },
  );
  closeSync(filler);
}

test('a full disk (ENOSPC) under the audit spool: changes go on by PostgreSQL, are refused without it, and none is lost', async () => {
  await using database = await openTestDatabase();
  await using upstream = await recordingUpstream();
  await using at = await startOnSmallDisk(upstream.url, database);
  const confirmed: string[] = [];
  const change = async () => {
    const { status, text, requestId } = await at.change();
    if (status === 200) confirmed.push(requestId);
    else assert.deepEqual([status, JSON.parse(text).code], [503, 'temporarily_unavailable'], text);
    return status;
  };
  const serves = async () => {
    const headers = { authorization: `Bearer ${tokenFor()}` };
    const { statusCode, body } = await request(at.proxy, { headers });
    await body.dump();
    assert.equal(statusCode, 200, 'the data plane takes no notice');
  };
  assert.equal(await change(), 200);
  // What PostgreSQL has leaves the spool, and its last page goes back to the disk.
  const spool = at.inside('audit');
  await eventually(() => readdirSync(spool).every((name) => statSync(join(spool, name)).size === 0), SOON_MS);
  fill(at.inside('filler'));
  for (let n = 0; n < 3; n += 1) assert.equal(await change(), 200, 'PostgreSQL takes the event');
  assert.match(at.log(), /"trouble":"spool_failing".*ENOSPC/, 'and the disk did not');
  await serves();
  await database.cut();
  for (let n = 0; n < 3; n += 1) assert.equal(await change(), 503, 'nobody takes it');
  await serves();
  await database.mend();
  await eventually(async () => (await change()) === 200, SOON_MS);
  await database.cut();
  assert.equal(await change(), 503);
  rmSync(at.inside('filler'));
  // Room is enough: PostgreSQL is still away.
  await eventually(async () => (await change()) === 200, SOON_MS);
  assert.equal(await change(), 200);
  await serves();
  await database.mend();
  const stored = async () => {
    const rows = await database.sql<{ request_id: string; n: number }[]>`
      select request_id, count(*) as n from audit_event where type = 'config.reloaded' and outcome = 'success' group by 1`;
    return new Map(rows.map(({ request_id, n }) => [request_id, n]));
  };
  await eventually(
    async () => confirmed.length === [...(await stored()).keys()].filter((id) => confirmed.includes(id)).length,
    SOON_MS,
  );
  const counts = await stored();
  for (const id of confirmed) assert.equal(counts.get(id), 1, `event of ${id}`);
  assert.equal((await at.read('/v1/audit/verify')).ok, true);
});
