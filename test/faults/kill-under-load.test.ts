// kill -9 of the whole program at random moments while operators change things: whatever was acknowledged is there after the
// next start, its audit event too, and the audit log proves whole. What was not answered may have happened or not.
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { type Running, scratchFolder, start } from '../cli/processes.ts';
import { eventually } from '../rows/eventually.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { configFor } from '../support/sidecar.ts';

const KILLS_AT_START = 3;
const KILLS_UNDER_LOAD = 6;
const WORKERS = 4;
const ISSUER = 'http://doorward.localhost';

/** What has to hold after a kill; `unknown` was under way when it came. */
type Fact = 'present' | 'absent' | 'unknown';

/** Everything that the callers were told, over all rounds. */
class Ledger {
  readonly operators = new Map<string, Fact>();
  /** By revoked subject, with the id that takes it back. */
  readonly revocations = new Map<string, { fact: Fact; id: string }>();
  /** Tokens of subjects that nobody revokes. */
  readonly tokens: string[] = [];
  /** Tokens whose subject was revoked afterwards, by subject. */
  readonly revoked = new Map<string, string>();
  /** Request ids of acknowledged changes: each has an audit event. */
  readonly requestIds: string[] = [];
  readonly odd: string[] = [];

  /** How many of each kind were acknowledged. */
  counts(): readonly number[] {
    return [this.operators.size, this.revocations.size, this.tokens.length, this.revoked.size];
  }
}

interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: looked into by assertions only
  readonly json: any;
}

/** Calls over the socket until the process is gone. */
class Caller implements AsyncDisposable {
  readonly #agent: Agent;
  readonly #ledger: Ledger;

  constructor(socketPath: string, ledger: Ledger) {
    this.#agent = new Agent({ connect: { socketPath } });
    this.#ledger = ledger;
  }

  async ask(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object): Promise<Answer> {
    const json = body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    const answer = await request(`http://localhost${path}`, { method, dispatcher: this.#agent, ...json });
    const text = await answer.body.text();
    if (method !== 'GET') {
      const ok = answer.statusCode < 300;
      if (ok) this.#ledger.requestIds.push(String(answer.headers['x-request-id']));
      else if (answer.statusCode !== 409) this.#ledger.odd.push(`${method} ${path}: ${answer.statusCode} ${text}`);
    }
    return { status: answer.statusCode, json: text === '' ? {} : JSON.parse(text) };
  }

  async [Symbol.asyncDispose]() {
    await this.#agent.destroy();
  }
}

const isOk = ({ status }: Answer) => status < 300;

/** One operator at work; ends when the process does not answer any more. */
async function work(caller: Caller, ledger: Ledger, name: string): Promise<void> {
  const actions = [addAndRemoveOperator, revokeAndUndo, issueAndRevoke, rotate];
  try {
    for (let turn = 0; ; turn += 1) {
      const action = actions[randomInt(20) === 0 ? 3 : randomInt(3)] as (typeof actions)[number];
      await action(caller, ledger, `${name}-${turn}`);
    }
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
  }
}

async function addAndRemoveOperator(caller: Caller, { operators }: Ledger, name: string): Promise<void> {
  operators.set(name, 'unknown');
  const added = await caller.ask('POST', '/v1/operators', { name, role: 'viewer' });
  if (!isOk(added)) return;
  operators.set(name, 'present');
  if (randomInt(2) === 0) return;
  operators.set(name, 'unknown');
  if (isOk(await caller.ask('DELETE', `/v1/operators/${added.json.id}`))) operators.set(name, 'absent');
}

async function revokeAndUndo(caller: Caller, { revocations }: Ledger, subject: string): Promise<void> {
  const entry = { fact: 'unknown' as Fact, id: '' };
  revocations.set(subject, entry);
  const draft = { kind: 'subject', issuer: ISSUER, id: subject, until: 'forever', reason: 'load' };
  const revoked = await caller.ask('POST', '/v1/revocations', draft);
  if (!isOk(revoked)) return;
  Object.assign(entry, { fact: 'present', id: revoked.json.id });
  if (randomInt(2) === 0) return;
  entry.fact = 'unknown';
  if (isOk(await caller.ask('DELETE', `/v1/revocations/${entry.id}`))) entry.fact = 'absent';
}

async function issueAndRevoke(caller: Caller, ledger: Ledger, subject: string): Promise<void> {
  const { json } = await caller.ask('POST', '/v1/tokens', { subject, client: 'web' });
  if (randomInt(2) === 0) {
    ledger.tokens.push(json.token);
    return;
  }
  if (isOk(await caller.ask('POST', '/v1/revocations', { token: json.token }))) ledger.revoked.set(subject, json.token);
}

async function rotate(caller: Caller): Promise<void> {
  if (randomInt(2) === 0) await caller.ask('POST', '/v1/keys', {});
  else await caller.ask('POST', '/v1/data-keys');
}

async function allItems(caller: Caller, path: string): Promise<Record<string, string>[]> {
  const items = [];
  for (let cursor = ''; ; ) {
    const { status, json } = await caller.ask('GET', `${path}${cursor}`);
    assert.equal(status, 200, JSON.stringify(json));
    items.push(...json.items);
    if (json.next === undefined) return items;
    cursor = `&cursor=${encodeURIComponent(json.next)}`;
  }
}

/** Every acknowledged fact, as a replica that just started tells it. */
async function compare(caller: Caller, proxyUrl: string, ledger: Ledger): Promise<void> {
  const operators = new Set((await allItems(caller, '/v1/operators?limit=200')).map(({ name }) => name as string));
  for (const [name, fact] of ledger.operators)
    if (fact !== 'unknown') assert.equal(operators.has(name) ? 'present' : 'absent', fact, `operator ${name}`);
  const listed = await allItems(caller, '/v1/revocations?limit=200');
  const revoked = new Set(listed.map(({ revoked_id: id }) => id));
  for (const [subject, { fact }] of ledger.revocations)
    if (fact !== 'unknown') assert.equal(revoked.has(subject) ? 'present' : 'absent', fact, `revocation ${subject}`);
  const ask = async (token: string) =>
    (await fetch(`${proxyUrl}/x`, { headers: { authorization: `Bearer ${token}` } })).status;
  for (const token of sample(ledger.tokens)) assert.equal(await ask(token), 200, 'an issued token');
  for (const token of sample([...ledger.revoked.values()])) assert.equal(await ask(token), 401, 'a revoked token');
}

/** The newest ones, and some of the older. */
const sample = (tokens: readonly string[]) => [...tokens.slice(-20), ...tokens.slice(0, 10)];

test('kill -9 at any moment: nothing acknowledged is lost, and the audit log proves whole', async (t) => {
  await using database = await openTestDatabase({ migrated: false });
  await using upstream = await recordingUpstream();
  await using redis = await startRedis('--appendonly', 'yes');
  using folder = scratchFolder();
  const config = configFor(upstream.url, {
    ...postgresConfig(database, { timeout: '2s' }),
    redis: { url: { value: redis.url }, timeout: '1s' },
    issuers: { self: { issuer: ISSUER, audience: ['api'], sign: { publish_before: '0ms' } } },
    log: { level: 'info', decisions: { allow: 0, deny: 0 } },
  });
  writeFileSync(folder.file('sidecar.yaml'), JSON.stringify(config));
  const socketPath = join(folder.path, '.doorward', 'admin.sock');
  const run = () => start(['run'], { cwd: folder.path });
  const kill = async (running: Running) => {
    running.signal('SIGKILL');
    await running.ended;
  };
  const ledger = new Ledger();

  for (let round = 0; round < KILLS_AT_START; round += 1) {
    await using starting = run();
    await sleep(randomInt(200, 1500));
    await kill(starting);
  }
  // A slow machine gets less done between two kills: it is killed more often.
  const hasEnough = () => ledger.counts().every((count) => count > 10);
  const isLast = (round: number) => round >= KILLS_UNDER_LOAD && (hasEnough() || round >= 4 * KILLS_UNDER_LOAD);
  for (let round = 0; ; round += 1) {
    await using running = run();
    const [, proxyUrl] = await running.until(/"proxy":"([^"]+)".*"event":"listening"/);
    await using caller = new Caller(socketPath, ledger);
    await eventually(async () => (await caller.ask('GET', '/v1/operators')).status === 200, 15_000);
    await compare(caller, proxyUrl as string, ledger);
    if (isLast(round)) {
      await eventually(async () => (await missingEvents()).length === 0, 15_000);
      const { json } = await caller.ask('GET', '/v1/audit/verify');
      assert.deepEqual([json.ok, json.problems], [true, []]);
      break;
    }
    const working = Array.from({ length: WORKERS }, (_, at) => work(caller, ledger, `r${round}-w${at}`));
    await sleep(randomInt(100, 1200));
    await kill(running);
    await Promise.all(working);
  }
  async function missingEvents(): Promise<string[]> {
    const rows = await database.sql<{ request_id: string }[]>`
      select request_id from audit_event where request_id is not null`;
    const recorded = new Set(rows.map(({ request_id: id }) => id));
    return ledger.requestIds.filter((id) => !recorded.has(id));
  }

  assert.deepEqual(ledger.odd, []);
  const { operators, revocations, tokens, revoked, requestIds } = ledger;
  t.diagnostic(
    `${requestIds.length} acknowledged: ${operators.size} operators, ${revocations.size} revocations, ${tokens.length + revoked.size} tokens`,
  );
  assert.ok(hasEnough(), `${ledger.counts()}`);
});
