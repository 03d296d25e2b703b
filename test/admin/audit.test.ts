// The audit log over the admin port: what is recorded, found, paged, verified and exported.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { exportedEvidence } from '../../src/audit/export-lines.ts';
import { verifyAudit } from '../../src/audit/verify.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { type AdminSidecar, type Loose, startAdminSidecar } from './admin-sidecar.ts';

async function world() {
  const database = await openTestDatabase();
  const it = await startAdminSidecar((config) => ({ ...config, ...postgresConfig(database) }));
  return {
    database,
    it,
    async [Symbol.asyncDispose]() {
      await it[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** Events are durable when a call answers, and in PostgreSQL a moment later. */
async function until(it: AdminSidecar, query: string, count: number): Promise<Loose[]> {
  for (let tries = 0; ; tries += 1) {
    const items = [...(await it.admin('GET', `/v1/audit?${query}`)).json.items];
    if (items.length >= count) return items;
    assert.ok(tries < 500, `${query} finds ${items.length}`);
    await sleep(20);
  }
}

test('who reads the audit log finds what this replica has recorded before, at once', async () => {
  await using w = await world();
  const { it } = w;
  for (let n = 1; n <= 20; n += 1) {
    await it.admin('POST', '/v1/tokens', { body: { subject: `alice-${n}`, client: 'web' } });
    const { json } = await it.admin('GET', `/v1/audit?subject=alice-${n}`);
    assert.equal([...json.items].length, 1, `event ${n}`);
  }
});

test('H13, C24: an event says who, what, from where, about whom, and is found by request id, subject, client, type and time', async () => {
  await using w = await world();
  const { it } = w;
  const { headers } = await it.admin('POST', '/v1/tokens', { body: { subject: 'alice', client: 'web' } });
  await it.admin('POST', '/v1/revocations', { body: { kind: 'client', issuer: 'self', id: 'billing' } });
  const [issued] = await until(it, `request_id=${headers['x-request-id']}`, 1);
  assert.deepEqual(
    [
      issued?.type,
      issued?.category,
      issued?.severity,
      issued?.outcome,
      issued?.subject,
      issued?.client,
      issued?.address,
    ],
    ['token.issued', 'token', 'info', 'success', 'alice', 'web', '127.0.0.1'],
  );
  assert.match(String(issued?.actor?.id), /^op_/);
  assert.equal(issued?.details?.what, 'POST /v1/tokens');
  assert.equal((await until(it, 'subject=alice', 1)).length, 1);
  assert.equal((await until(it, 'client=billing&type=revocation.added', 1)).length, 1);
  assert.deepEqual(await until(it, 'type=token.issued&since=1h', 1), [issued]);
  assert.deepEqual(await until(it, 'type=token.issued&until=1h', 0), []);
  assert.equal((await it.admin('GET', '/v1/audit?type=TOKEN.ISSUED')).status, 422);
  assert.equal((await it.admin('GET', '/v1/audit?cursor=nonsense')).status, 422);
  assert.equal((await it.admin('GET', '/v1/audit?since=0000-01-01T00:00:00Z')).status, 200);
  assert.deepEqual([...(await it.admin('GET', '/v1/audit?until=0000-01-01T00:00:00Z')).json.items], []);
});

test('a change that failed is recorded with its reason, and a read as a read', async () => {
  await using w = await world();
  await w.it.admin('POST', '/v1/tokens', { body: { subject: 5 } });
  await w.it.admin('GET', '/v1/revocations');
  await w.it.admin('DELETE', '/v1/operators/nosuch');
  const [missing] = await until(w.it, 'type=operator.removed', 1);
  assert.deepEqual([missing?.outcome, missing?.reason], ['failure', 'resource_not_found']);
  const [failed] = await until(w.it, 'type=token.issued', 1);
  assert.deepEqual([failed?.outcome, failed?.reason], ['failure', 'fields_invalid']);
  const reads = await until(w.it, 'type=admin.read', 1);
  assert.ok(reads.some(({ details }) => String(details?.what) === 'GET /v1/revocations'));
});

test('the pages hold each event once while events come in', async () => {
  await using w = await world();
  for (let n = 0; n < 12; n += 1) await w.it.admin('DELETE', `/v1/limits/tight/self%2Fc${n}`);
  await until(w.it, 'type=limit.reset', 12);
  const seen: string[] = [];
  for (let cursor = ''; ; ) {
    const page = await w.it.admin('GET', `/v1/audit?type=limit.reset&limit=5${cursor}`);
    seen.push(...[...page.json.items].map(({ id }) => String(id)));
    if (page.json.next === undefined) break;
    await w.it.admin('DELETE', '/v1/limits/tight/self%2Flate');
    cursor = `&cursor=${page.json.next}`;
  }
  assert.deepEqual([seen.length, new Set(seen).size], [12, 12]);
});

test('verify answers with a report, and an export can be verified without the database, also against a named key', async () => {
  await using w = await world();
  for (let n = 0; n < 3; n += 1) await w.it.issue();
  await until(w.it, 'type=token.issued', 3);
  const report = await w.it.admin('GET', '/v1/audit/verify');
  assert.deepEqual([report.status, report.json.ok, report.json.problems], [200, true, []]);
  const lines: string[] = [];
  for (let cursor: string | undefined = ''; cursor !== undefined; ) {
    const page = await w.it.admin('GET', `/v1/audit/export?limit=2&cursor=${encodeURIComponent(cursor)}`);
    lines.push(...[...(page.json.lines as Loose)].map((line) => JSON.stringify(line)));
    cursor = page.json.next === undefined ? undefined : String(page.json.next);
  }
  const read = (changed: readonly string[]) =>
    async function* () {
      yield* changed;
    };
  const { evidence, keyIds } = exportedEvidence(read(lines), undefined);
  const offline = await verifyAudit(evidence);
  assert.equal(offline.ok, true, JSON.stringify(offline.problems));
  assert.ok(offline.events >= 5);
  assert.deepEqual((await verifyAudit(exportedEvidence(read(lines), [...keyIds]).evidence)).ok, true);
  const edited = lines.map((line) => line.replace('"subject":"alice"', '"subject":"mallory"'));
  const found = await verifyAudit(exportedEvidence(read(edited), undefined).evidence);
  assert.deepEqual(new Set(found.problems.map(({ problem }) => problem)), new Set(['row_edited']));
});

test('metrics count events by type, and /readyz names the trail', async () => {
  await using w = await world();
  await w.it.issue();
  const { text } = await w.it.observe('GET', '/metrics');
  assert.match(text, /doorward_audit_events_total\{type="token.issued"\} 1/);
  assert.equal((await w.it.observe('GET', '/readyz')).json.components.audit?.status, 'up');
});

test('without postgres the rooms answer 501, and every change is still a log line', async () => {
  await using it = await startAdminSidecar();
  for (const path of ['/v1/audit', '/v1/audit/verify', '/v1/audit/export', '/v1/operators']) {
    assert.deepEqual([(await it.admin('GET', path)).status, path], [501, path]);
  }
});
