// A checkpoint of the audit log may take PostgreSQL half a minute, and its call a minute to be given up. A replica told to end
// while PostgreSQL said nothing waited for that, and longer than Kubernetes waits before it kills.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { scratchFolder, start } from '../cli/processes.ts';
import { eventually } from '../rows/eventually.ts';
import { openTestDatabase, postgresConfig, type TestDatabase } from '../support/postgres-server.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRelay } from '../support/relay.ts';
import { configFor } from '../support/sidecar.ts';

const SOON_MS = 20_000;
/** What `terminationGracePeriodSeconds` is unless somebody sets it. */
const GRACE_MS = 30_000;

/** Holds up every checkpoint. */
async function lockCheckpoints(sql: TestDatabase['sql']): Promise<AsyncDisposable> {
  const [locked, release] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const lock = sql.begin(async (held) => {
    await held`lock table audit_checkpoint in share mode`;
    locked.resolve();
    await release.promise;
  });
  await locked.promise;
  return {
    async [Symbol.asyncDispose]() {
      release.resolve();
      await lock;
    },
  };
}

async function revokeOver(socketPath: string, id: string): Promise<number> {
  const dispatcher = new Agent({ connect: { socketPath } });
  const body = JSON.stringify({ kind: 'subject', issuer: 'test', id, reason: 'test' });
  const headers = { 'content-type': 'application/json' };
  const answer = await request('http://localhost/v1/revocations', { method: 'POST', headers, body, dispatcher });
  await answer.body.dump();
  await dispatcher.close();
  return answer.statusCode;
}

test('SIGTERM while PostgreSQL says nothing: ended before an orchestrator would kill, and the next start stores what was recorded', async () => {
  using folder = scratchFolder();
  await using database = await openTestDatabase();
  await using upstream = await recordingUpstream();
  const { sql, settings } = database;
  const at = new URL(settings.url);
  await using relay = await startRelay({ path: `${at.searchParams.get('host')}/.s.PGSQL.5432` });
  const url = `postgres://${at.username}:${at.password}@127.0.0.1:${relay.port}${at.pathname}`;
  const stores = postgresConfig(database, { url: { value: url }, timeout: '500ms' });
  const config = configFor(upstream.url, { ...stores, audit: { checkpoint_every: '1s' } });
  writeFileSync(folder.file('sidecar.yaml'), JSON.stringify(config));
  {
    await using program = start(['run'], { cwd: folder.path });
    await program.until(/"event":"listening"/);
    const revoke = (id: string) => revokeOver(folder.file('.doorward/admin.sock'), id);
    assert.equal(await revoke('alice'), 201);
    await using _lock = await lockCheckpoints(sql);
    const waits = () => sql`select 1 from pg_locks where not granted and relation = 'audit_checkpoint'::regclass`;
    await eventually(async () => (await waits()).length === 1, SOON_MS);
    relay.stall();
    assert.equal(await revoke('mallory'), 503);
    program.signal('SIGTERM');
    const ended = await Promise.race([program.ended, sleep(GRACE_MS, undefined, { ref: false })]);
    assert.deepEqual([ended?.code, ended?.err], [0, '']);
  }
  relay.heal();
  await using again = start(['run'], { cwd: folder.path });
  await again.until(/"event":"listening"/);
  const stored = async () => (await sql`select 1 from audit_event where outcome = 'failure'`).length;
  await eventually(async () => (await stored()) === 1, SOON_MS);
});
