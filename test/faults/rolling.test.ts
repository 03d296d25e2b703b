// A release and the one before side by side on the same stores: a rolling upgrade, and back, under load. What one revokes, counts,
// signs or records holds for the other. The older release runs from this repository's history, so a clone with history is needed.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isApplied } from '../chaos/callers.ts';
import { Replica } from '../chaos/replica.ts';
import { scratchFolder } from '../cli/processes.ts';
import { eventually } from '../rows/eventually.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { testIssuer, testIssuerBlock, tokenFor } from '../support/sidecar.ts';

/** The commit before the issue that this test belongs to. */
const PREVIOUS = 'd6f0a6b';
const ROOT = resolve(import.meta.dirname, '../..');
const NEW = join(ROOT, 'src/main.ts');
const SELF = 'http://doorward.localhost';
const SOON = 20_000;
const LIMIT = 20;

const dependenciesIn = (folder: string): Record<string, string> =>
  JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).dependencies;

/** False in an unpacked archive or a shallow clone. */
const hasHistory = (): boolean =>
  spawnSync('git', ['cat-file', '-e', `${PREVIOUS}^{tree}`], { cwd: ROOT }).status === 0;

/** Puts the older release into `folder`, and answers its program. Its packages are ours where the versions are. */
function unpackPrevious(folder: string): string {
  mkdirSync(folder);
  const archive = execFileSync('git', ['archive', PREVIOUS, 'src', 'package.json', 'package-lock.json'], {
    cwd: ROOT,
    maxBuffer: 2 ** 28,
  });
  execFileSync('tar', ['-x', '-C', folder], { input: archive });
  const ours = dependenciesIn(ROOT);
  const isSame = Object.entries(dependenciesIn(folder)).every(([name, version]) => ours[name] === version);
  if (isSame) symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  else execFileSync('npm', ['ci', '--omit=dev', '--no-audit', '--no-fund'], { cwd: folder, stdio: 'inherit' });
  return join(folder, 'src/main.ts');
}

/** The replicas: two with a control plane, and one that believes what they publish. */
interface Fleet {
  readonly a: Replica;
  readonly b: Replica;
  readonly reader: Replica;
}

/** Callers that never stop: good tokens pass and revoked ones do not, whatever release answers. */
class Load {
  readonly wrong: string[] = [];
  readonly revoked: string[] = [];
  asked = 0;
  #running = true;
  readonly #lanes: Promise<void>[];

  constructor(replicas: readonly Replica[]) {
    this.#lanes = replicas.map((replica) => this.#lane(replica));
  }

  async #lane(replica: Replica): Promise<void> {
    const good = tokenFor({ sub: 'steady', jti: `steady-${replica.name}` });
    for (let turn = 0; this.#running; turn += 1) {
      const bad = turn % 2 === 0 ? this.revoked[turn % this.revoked.length] : undefined;
      const { status, text } = await replica.ask('/load', bad ?? good);
      this.asked += 1;
      // 0: it is being replaced; 503: it has just started, or is about to end.
      const fine = bad === undefined ? [200, 503, 0] : [401, 503, 0];
      if (!fine.includes(status)) this.wrong.push(`${replica.name}: ${bad ? 'revoked' : 'good'} ${status} ${text}`);
      await sleep(15);
    }
  }

  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#lanes);
  }
}

const listedKeys = async (replica: Replica): Promise<{ kid: string; state: string }[]> =>
  JSON.parse((await replica.admin('GET', '/v1/keys')).text).items;

/** The key of a token that `replica` signs now. */
async function signingKid(replica: Replica): Promise<string> {
  const { text } = await replica.admin('POST', '/v1/tokens', { subject: 'probe', client: 'web' });
  const [header = ''] = (JSON.parse(text).token as string).split('.');
  return JSON.parse(Buffer.from(header, 'base64url').toString()).kid;
}

let numbered = 0;

/** Everything that has to hold over `from` and `to`, once in each direction. */
async function checkAcross(fleet: Fleet, load: Load, between: string): Promise<void> {
  for (const [from, to] of [
    [fleet.a, fleet.b],
    [fleet.b, fleet.a],
  ] as const) {
    numbered += 1;
    const subject = `s${numbered}`;
    const others = [to, fleet.reader];
    const statuses = (token: string) => Promise.all(others.map(async (one) => (await one.ask('/x', token)).status));
    const why = `${between}, by ${from.name}`;

    const token = tokenFor({ sub: subject, jti: subject });
    assert.deepEqual(await statuses(token), [200, 200], why);
    const revoked = await from.admin('POST', '/v1/revocations', { token, reason: 'rolling' });
    assert.ok(isApplied(revoked), `${why}: ${revoked.text}`);
    assert.deepEqual(await statuses(token), [401, 401], `${why}: revoked`);
    load.revoked.push(token);

    const counted = tokenFor({ sub: `${subject}-counted` });
    const asked = Array.from({ length: 3 * LIMIT }, (_, at) =>
      ([from, to, fleet.reader][at % 3] as Replica).ask('/counted', counted),
    );
    const allowed = (await Promise.all(asked)).filter(({ status }) => status === 200).length;
    assert.equal(allowed, LIMIT, `${why}: a limit over all three`);

    const rotated = await from.admin('POST', '/v1/keys', {});
    assert.ok(rotated.status < 300, `${why}: a new signing key: ${rotated.text}`);
    const pending = (await listedKeys(from)).find(({ state }) => state === 'pending');
    // The schedule may have been quicker.
    if (pending !== undefined) {
      const activated = await from.admin('POST', `/v1/keys/${pending.kid}/activate`);
      assert.ok([200, 409].includes(activated.status), `${why}: ${activated.text}`);
    }
    // The other one signs with it as well, as soon as it has read it.
    await eventually(async () => (await signingKid(to)) === (await signingKid(from)), SOON);
    const issue = await from.admin('POST', '/v1/tokens', { subject, client: 'web' });
    assert.equal(issue.status, 201, issue.text);
    const issued = JSON.parse(issue.text).token as string;
    // Activated at once instead of published long before, so a replica may hear of the key a moment after its first token.
    await eventually(async () => (await statuses(issued)).every((status) => status === 200), SOON);

    const path = `/v1/clients/${subject}?issuer=${encodeURIComponent(testIssuer)}`;
    const record = await from.admin('PUT', path, { disabled: true });
    assert.equal(record.status, 200, `${why}: ${record.text}`);
    const disabled = tokenFor({ sub: 'anybody', client_id: subject });
    await eventually(async () => (await statuses(disabled)).every((status) => status === 401), SOON);
  }
}

/** Replaces a replica by another release, as a rolling update does: SIGTERM, then the next one on the same address. */
async function replace(replica: Replica, main: string): Promise<void> {
  await replica.stop('SIGTERM');
  await replica.start(main);
  let said = '';
  const isReady = async () => {
    said = await replica.readiness();
    return said === 'ready';
  };
  await eventually(isReady, SOON).catch(() => assert.fail(`${replica.name} is ${said}`));
}

test('releases N and N-1 side by side: upgraded one by one and rolled back under load, each holds what the other says', async (t) => {
  // No pass in silence: an upgrade that nobody tried must not look like one that works.
  if (!hasHistory()) return t.skip(`a clone with history is needed, to run ${PREVIOUS} beside this release`);
  await using opened = new AsyncDisposableStack();
  const folder = opened.use(scratchFolder());
  const old = unpackPrevious(folder.file('previous'));
  const redis = opened.use(await startRedis());
  const database = opened.use(await openTestDatabase({ migrated: false }));
  const upstream = opened.use(await recordingUpstream());
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const value = (pem: string | Buffer) => ({ value: pem.toString() });
  const shared = {
    version: 1,
    name: 'rolling',
    upstreams: { app: { url: upstream.url } },
    redis: { url: { value: redis.url }, timeout: '2s' },
    limits: { counted: { key: 'subject', rate: `${LIMIT}/1h` } },
    log: { level: 'info', decisions: { allow: 0, deny: 0 } },
    defaults: { issuers: ['test', 'self'] },
    routes: { counted: { match: { prefix: '/counted' }, limits: ['counted'] }, all: { match: { prefix: '/' } } },
  };
  const own = { issuer: SELF, audience: ['api'] };
  const control = {
    ...shared,
    ...postgresConfig(database, { timeout: '5s' }),
    sealing: { kek: { key: { value: randomBytes(32).toString('base64') } } },
    issuers: { test: testIssuerBlock, self: { ...own, sign: { publish_before: '0ms' } } },
    control_plane: { signing_key: value(privateKey.export({ type: 'pkcs8', format: 'pem' })) },
  };
  const reading = {
    ...shared,
    issuers: { test: testIssuerBlock, self: { ...own, keys: { published: true } } },
    control_plane: { public_key: value(publicKey.export({ type: 'spki', format: 'pem' })) },
  };
  const [a, b, reader] = ['a', 'b', 'reader'].map((name) =>
    opened.use(new Replica(name, folder.path, { main: old })),
  ) as [Replica, Replica, Replica];
  await a.open(control);
  await b.open(control);
  await reader.open(reading);
  for (const replica of [a, b, reader]) await eventually(async () => (await replica.readiness()) === 'ready', SOON);
  const fleet = { a, b, reader };
  const load = new Load([a, b, reader]);
  try {
    await checkAcross(fleet, load, 'all of N-1');
    await replace(b, NEW);
    await checkAcross(fleet, load, 'b upgraded, the schema too');
    await replace(reader, NEW);
    await checkAcross(fleet, load, 'b and the reader upgraded');
    await replace(a, NEW);
    await checkAcross(fleet, load, 'all of N');
    await replace(a, old);
    await replace(reader, old);
    await checkAcross(fleet, load, 'a and the reader rolled back');
  } finally {
    await load.stop();
  }
  assert.deepEqual(load.wrong, []);
  assert.ok(load.asked > 50 && load.revoked.length === 10, `${load.asked} requests`);
});
