// `doorward doctor` against running systems: one that is fit, and ones in which something is planted that must be found.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openSidecar } from '../../src/app.ts';
import type { SidecarInput } from '../../src/config/schema.ts';
import { openLog } from '../../src/telemetry/log.ts';
import { startAdminSidecar } from '../admin/admin-sidecar.ts';
import { freePort } from '../support/free-port.ts';
import { openTestDatabase } from '../support/postgres-server.ts';
import { startRedis } from '../support/redis-server.ts';
import { runHere } from './processes.ts';

/** A system as it should be: nothing written into the file, everything durable, one route with scope and limit. */
async function system(change: (config: SidecarInput) => SidecarInput = (config) => config) {
  const closing = new AsyncDisposableStack();
  const [database, redis] = [closing.use(await openTestDatabase()), closing.use(await startRedis())];
  const env = {
    POSTGRES_URL: database.settings.url,
    REDIS_URL: redis.url,
    KEK: randomBytes(32).toString('base64'),
  };
  const port = await freePort();
  const it = await startAdminSidecar(
    ({ admin, observe, upstreams, version, state_dir }) =>
      change({
        ...{ version, state_dir, admin, observe, upstreams, name: 'doctor_test' },
        proxy: { listen: `127.0.0.1:${port}`, endpoints: { oauth: true }, drain: { delay: '0s', timeout: '2s' } },
        postgres: { url: { env: 'POSTGRES_URL' }, timeout: '5s' },
        redis: { url: { env: 'REDIS_URL' }, timeout: '1s' },
        sealing: { kek: { key: { env: 'KEK' } } },
        issuers: { self: { issuer: `http://127.0.0.1:${port}`, audience: ['api'], sign: {} } },
        limits: { per_client: { key: 'client', rate: '1000/1m' }, per_ip: { key: 'ip', rate: '100000/1m' } },
        tiers: { free: { scopes: ['read'] }, paid: { scopes: ['read', 'write'] } },
        default_tier: 'free',
        routes: {
          open: { match: { path: '/open' }, auth: 'none' },
          all: { match: { prefix: '/' }, require: { scopes: ['write'] }, limits: ['per_client', 'per_ip'] },
        },
      }),
    env,
  ).catch(async (error) => {
    await closing.disposeAsync();
    throw error;
  });
  closing.use(it);
  const doctor = async (...args: string[]) => {
    const ended = await runHere(['doctor', '--config', it.file, '--json', ...args], '', env);
    const report = JSON.parse(ended.out) as Report;
    const of = (outcome: string) => report.checks.filter((each) => each.outcome === outcome).map(({ check }) => check);
    return { ...ended, report, failed: of('fail'), skipped: of('skip') };
  };
  return { it, database, redis, env, doctor, [Symbol.asyncDispose]: () => closing.disposeAsync() };
}

interface Report {
  readonly ok: boolean;
  readonly checks: readonly { readonly check: string; readonly outcome: string; readonly detail: string }[];
}

test('H18: a system that is fit passes every check, none is skipped, and nothing of it stays', {
  timeout: 60_000,
}, async () => {
  await using s = await system();
  const { code, report, err } = await s.doctor();
  assert.deepEqual(
    report.checks.filter(({ outcome }) => outcome !== 'pass'),
    [],
  );
  assert.deepEqual([code, err, report.ok, report.checks.length], [0, '', true, 21]);
  assert.deepEqual(
    await s.database.sql`select name from client where removed_at is null`.then((rows) => [...rows]),
    [],
  );
  assert.deepEqual(
    await s.database.sql`select client from token_family where ended_at is null`.then((rows) => [...rows]),
    [],
  );
  const again = await runHere(['doctor', '--config', s.it.file], '', s.env);
  assert.equal(again.code, 0, again.out + again.err);
  assert.match(again.out, /^pass {2}a limit refuses what is too much: 429 at request 1?\d, then reset$/m);
  assert.match(again.out, /^21 passed, 0 failed, 0 skipped$/m);
  assert.doesNotMatch(again.out + again.err + s.it.logText(), /dws_|eyJ/);
});

test('H18: what is planted is found: an edited audit event, a file that is not in force', {
  timeout: 60_000,
}, async () => {
  await using s = await system();
  await s.it.admin('POST', '/v1/operators', { body: { name: 'ci', role: 'viewer' } });
  while ((await s.database.sql`select 1 from audit_event where type = 'operator.added'`).length === 0);
  await s.database.sql`update audit_event set actor = 'somebody' where type = 'operator.added'`;
  // Only a restart brings it into force, so that no reload is faster than the doctor.
  const text = readFileSync(s.it.file, 'utf8');
  writeFileSync(s.it.file, text.replace(/^( +)drain:/m, '$1header_timeout: 11s\n$1drain:'));
  const { code, failed, err, report } = await s.doctor();
  assert.deepEqual(failed, [
    'the configuration file is the one in force, and fit for production',
    'the audit log is whole',
  ]);
  assert.deepEqual([code, report.ok], [1, false]);
  assert.match(err, /^not fit to go live: 19 passed, 2 failed, 0 skipped$/);
});

test('H18: clients are counted before a restart and compared after it: kept is a pass, lost or no restart a failure', {
  timeout: 60_000,
}, async () => {
  await using s = await system();
  const file = join(s.it.folder, 'counts.json');
  await s.it.admin('POST', '/v1/clients', { body: { name: 'billing' } });
  const outcome = async () => {
    const { report } = await s.doctor('--counts', file);
    const found = report.checks.find(({ check }) => check === 'clients and operators outlive a restart');
    return [found?.outcome, found?.detail];
  };
  assert.deepEqual(await outcome(), [
    'pass',
    `1 clients and 1 operators noted in ${file}; restart, and run this again`,
  ]);
  const [state, why] = await outcome();
  assert.deepEqual([state, /^there was no restart since /.test(String(why))], ['fail', true]);
  const restart = () => openSidecar({ file: s.it.file, env: s.env, log: openLog('error', { write: () => undefined }) });
  await s.it.sidecar[Symbol.asyncDispose]();
  {
    await using _again = await restart();
    const [kept, detail] = await outcome();
    assert.deepEqual([kept, /^1 clients and 1 operators, as noted at 2/.test(String(detail))], ['pass', true]);
  }
  await s.database.sql`delete from client`;
  await using _last = await restart();
  assert.deepEqual(await outcome(), ['fail', 'clients: 1 before the restart, 0 after it']);
});

test('H18: a limit that never refuses fails its check, and nothing stays', {
  timeout: 60_000,
}, async () => {
  await using s = await system((config) => ({
    ...config,
    limits: { ...config.limits, per_client: { key: 'client', rate: '1000/1m', exempt: ['127.0.0.0/8'] } },
  }));
  const { code, failed } = await s.doctor();
  assert.deepEqual([code, failed], [1, ['a limit refuses what is too much']]);
  assert.deepEqual(
    await s.database.sql`select name from client where removed_at is null`.then((rows) => [...rows]),
    [],
  );
});

test('H18: with Redis away components fail, and the temporary client is removed all the same', {
  timeout: 60_000,
}, async () => {
  await using s = await system();
  await s.redis.stop();
  const { code, failed } = await s.doctor();
  assert.equal(code, 1);
  assert.ok(failed.includes('every component is up'), failed.join());
  assert.deepEqual(
    await s.database.sql`select name from client where removed_at is null`.then((rows) => [...rows]),
    [],
  );
});

test('checks that cannot be made are named and count as failures, unless --allow-skip', async () => {
  await using s = await system((config) => ({ ...config, proxy: { ...config.proxy, endpoints: {} } }));
  const strict = await s.doctor();
  assert.deepEqual([strict.code, strict.failed, strict.skipped.length], [1, [], 14]);
  const why = strict.report.checks.find(({ check }) => check === 'a revoked token is refused');
  assert.equal(why?.detail, 'proxy.endpoints.oauth is off');
  const lenient = await s.doctor('--allow-skip');
  assert.deepEqual([lenient.code, lenient.report.ok, lenient.skipped.length], [0, true, 14]);
});

test('memory stores fail, and no flag lets them pass', async () => {
  await using it = await startAdminSidecar();
  const { code, out } = await runHere(['doctor', '--config', it.file, '--allow-skip']);
  assert.equal(code, 1);
  assert.match(out, /^fail {2}every component is up: store degraded .*memory_store/m);
  assert.match(out, /^fail {2}the configuration file .*redis: is missing/m);
  assert.match(out, /^skip {2}PostgreSQL answers quickly: \/v1\/operators is not configured$/m);
});

test('without a sidecar doctor says so and ends with 4', async () => {
  const { code, err } = await runHere(['doctor', '--state-dir', '/nonexistent', '--admin-token-file', '/nonexistent']);
  assert.deepEqual([code, /no sidecar runs here/.test(err)], [4, true]);
});
