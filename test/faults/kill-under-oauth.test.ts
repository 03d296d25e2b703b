// kill -9 of the whole program while clients redeem codes and refresh tokens: what was answered holds after the next start,
// what was under way can be asked again, and no code and no refresh token buys two things.
import assert from 'node:assert/strict';
import { randomBytes, randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { scratchFolder, start } from '../cli/processes.ts';
import { basicField, challengeOf, REDIRECT } from '../identity/world.ts';
import { eventually } from '../rows/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { configFor } from '../support/sidecar.ts';

const KILLS = 6;
const WORKERS = 4;

interface Client {
  readonly id: string;
  readonly secret: string;
}

interface Code {
  readonly client: Client;
  readonly code: string;
  readonly verifier: string;
}

/** A family as its client knows it. */
interface Chain {
  readonly client: Client;
  readonly code: Code;
  /** Redeemed refresh tokens, oldest first. */
  readonly spent: string[];
  latest: string;
  /** The latest was being redeemed when the process was killed. */
  underWay: boolean;
}

interface Reply {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: looked into by assertions only
  readonly json: any;
}

/** What clients and the application ask, and what they were told, over all rounds. */
class OAuthLoad implements AsyncDisposable {
  readonly clients: Client[] = [];
  readonly codes: Code[] = [];
  readonly codesUnderWay: Code[] = [];
  readonly chains: Chain[] = [];
  refreshes = 0;
  readonly #issuer: string;
  readonly #socketPath: string;
  #socket = new Agent();
  #port = new Agent();

  constructor(issuer: string, socketPath: string) {
    this.#issuer = issuer;
    this.#socketPath = socketPath;
  }

  /** New connections, for a process that was just started. */
  async reconnect(): Promise<void> {
    await Promise.all([this.#socket.destroy(), this.#port.destroy()]);
    this.#socket = new Agent({ connect: { socketPath: this.#socketPath } });
    this.#port = new Agent();
  }

  async admin(method: 'GET' | 'POST', path: string, body?: object): Promise<Reply> {
    const json = body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    return replyTo(request(`http://localhost${path}`, { method, dispatcher: this.#socket, ...json }));
  }

  token(client: Client, form: Record<string, string>): Promise<Reply> {
    const headers = {
      authorization: basicField(client.id, client.secret),
      'content-type': 'application/x-www-form-urlencoded',
    };
    const url = `${this.#issuer}/.doorward/oauth/token`;
    const body = new URLSearchParams(form).toString();
    return replyTo(request(url, { method: 'POST', dispatcher: this.#port, headers, body }));
  }

  redeem({ client, code, verifier }: Code): Promise<Reply> {
    return this.token(client, {
      grant_type: 'authorization_code',
      code,
      redirect_uri: REDIRECT,
      code_verifier: verifier,
    });
  }

  refresh(client: Client, refreshToken: string): Promise<Reply> {
    return this.token(client, { grant_type: 'refresh_token', refresh_token: refreshToken });
  }

  async addClient(): Promise<Client> {
    const { status, json } = await this.admin('POST', '/v1/clients', {
      name: 'load',
      grant_types: ['client_credentials', 'authorization_code', 'refresh_token'],
      redirect_uris: [REDIRECT],
      scopes: ['read'],
    });
    assert.equal(status, 201, JSON.stringify(json));
    const client = { id: json.client_id, secret: json.client_secret };
    this.clients.push(client);
    return client;
  }

  /** One grant from its code to some refreshes; rejects when the process is gone. */
  async grant(client: Client): Promise<void> {
    const verifier = randomBytes(32).toString('base64url');
    const minted = await this.admin('POST', '/v1/codes', {
      client_id: client.id,
      redirect_uri: REDIRECT,
      subject: 'alice',
      code_challenge: challengeOf(verifier),
      code_challenge_method: 'S256',
    });
    assert.equal(minted.status, 201, JSON.stringify(minted.json));
    const code = { client, code: minted.json.code, verifier };
    if (randomInt(5) === 0) {
      this.codes.push(code);
      return;
    }
    this.codesUnderWay.push(code);
    const redeemed = await this.redeem(code);
    assert.equal(redeemed.status, 200, JSON.stringify(redeemed.json));
    this.codesUnderWay.splice(this.codesUnderWay.indexOf(code), 1);
    const chain: Chain = { client, code, spent: [], latest: redeemed.json.refresh_token, underWay: false };
    this.chains.push(chain);
    for (let turn = randomInt(4); turn > 0; turn -= 1) await this.goOn(chain);
  }

  async goOn(chain: Chain): Promise<void> {
    chain.underWay = true;
    const { status, json } = await this.refresh(chain.client, chain.latest);
    assert.equal(status, 200, JSON.stringify(json));
    chain.spent.push(chain.latest);
    chain.latest = json.refresh_token;
    chain.underWay = false;
    this.refreshes += 1;
  }

  async work(): Promise<void> {
    try {
      for (let client = await this.addClient(); ; ) {
        if (randomInt(8) === 0) client = await this.addClient();
        await this.grant(client);
      }
    } catch (error) {
      // Everything else is the connection that went with the process.
      if (error instanceof assert.AssertionError) throw error;
    }
  }

  async [Symbol.asyncDispose]() {
    await Promise.all([this.#socket.destroy(), this.#port.destroy()]);
  }
}

async function replyTo(asked: ReturnType<typeof request>): Promise<Reply> {
  const answer = await asked;
  const text = await answer.body.text();
  return { status: answer.statusCode, json: text === '' ? {} : JSON.parse(text) };
}

/** What was told before the kill holds, and what was under way is decided one way. */
async function compare(load: OAuthLoad): Promise<void> {
  for (const client of load.clients.slice(-5))
    assert.equal((await load.token(client, { grant_type: 'client_credentials' })).status, 200, 'a client');
  for (const code of load.codes.splice(0)) {
    assert.equal((await load.redeem(code)).status, 200, 'a code that nobody has redeemed');
    assert.equal((await load.redeem(code)).json.error, 'invalid_grant', 'the same code again');
  }
  for (const code of load.codesUnderWay.splice(0)) {
    const { status, json } = await load.redeem(code);
    assert.ok(status === 200 || json.error === 'invalid_grant', `a code that was being redeemed: ${status}`);
    assert.equal((await load.redeem(code)).json.error, 'invalid_grant');
    if (status === 200) assert.equal((await load.refresh(code.client, json.refresh_token)).json.error, 'invalid_grant');
  }
  for (const chain of load.chains.filter(({ underWay }) => underWay)) {
    const answers = await Promise.all([1, 2, 3].map(() => load.refresh(chain.client, chain.latest)));
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 200, 200],
      'a refresh that was under way, asked again within its grace',
    );
    const successors = new Set(answers.map(({ json }) => json.refresh_token));
    assert.equal(successors.size, 1, 'one successor');
    chain.spent.push(chain.latest);
    chain.latest = [...successors][0] as string;
    chain.underWay = false;
  }
  for (const chain of load.chains.slice(-10)) await load.goOn(chain);
}

test('kill -9 at any moment: no code and no refresh token is spent twice, and none that was given out is lost', async (t) => {
  await using database = await openTestDatabase();
  await using upstream = await recordingUpstream();
  using folder = scratchFolder();
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  const every = ['token', 'introspect', 'revoke', 'register', 'userinfo', 'documents', 'failures'];
  const config = configFor(upstream.url, {
    ...postgresConfig(database, { timeout: '2s' }),
    proxy: { listen: `127.0.0.1:${port}`, endpoints: { oauth: true } },
    limits: { roomy: { key: 'ip', rate: '1000000/1m' } },
    oauth: { refresh_grace: '5m', limits: Object.fromEntries(every.map((name) => [name, 'roomy'])) },
    issuers: { self: { issuer, audience: ['api'], sign: {} } },
    log: { level: 'info', decisions: { allow: 0, deny: 0 } },
  });
  writeFileSync(folder.file('sidecar.yaml'), JSON.stringify(config));
  await using load = new OAuthLoad(issuer, join(folder.path, '.doorward', 'admin.sock'));
  const { clients, chains } = load;
  // A slow machine gets less done between two kills: it is killed more often.
  const hasEnough = () => clients.length > 5 && chains.length > 20 && load.refreshes > 20;
  const isLast = (round: number) => round >= KILLS && (hasEnough() || round >= 4 * KILLS);
  for (let round = 0; ; round += 1) {
    await using running = start(['run'], { cwd: folder.path });
    await running.until(/"event":"listening"/);
    await load.reconnect();
    await eventually(async () => (await load.admin('GET', '/v1/operators')).status === 200, 15_000);
    await compare(load);
    if (isLast(round)) {
      await endings(load);
      break;
    }
    const working = Array.from({ length: WORKERS }, () => load.work());
    await sleep(randomInt(150, 1200));
    running.signal('SIGKILL');
    await running.ended;
    await Promise.all(working);
  }
  const counts = `${clients.length} clients, ${chains.length} families, ${load.refreshes} refreshes`;
  t.diagnostic(counts);
  assert.ok(hasEnough(), counts);
});

/** What was spent before some kill is spent for good, and gives the thief away. */
async function endings(load: OAuthLoad): Promise<void> {
  const [reused, replayed] = [load.chains.filter(({ spent }) => spent.length > 1).slice(0, 5), load.chains.slice(-5)];
  assert.equal(reused.length, 5);
  for (const { client, spent, latest } of reused) {
    assert.equal((await load.refresh(client, spent[0] as string)).json.error, 'invalid_grant', 'reuse');
    assert.equal((await load.refresh(client, latest)).json.error, 'invalid_grant', 'the family has ended');
  }
  for (const { client, code, latest } of replayed) {
    assert.equal((await load.redeem(code)).json.error, 'invalid_grant', 'a code of before');
    assert.equal((await load.refresh(client, latest)).json.error, 'invalid_grant', 'its family has ended');
  }
  const { json } = await load.admin('GET', '/v1/audit/verify');
  assert.deepEqual([json.ok, json.problems], [true, []]);
}
