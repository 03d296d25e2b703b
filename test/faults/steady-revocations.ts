// Two real replicas on one Redis under a steady stream of requests, good ones and ones with revoked tokens, while Redis loses
// what it has. Keeps account of what was acknowledged, and of every answer that must not have been given.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { Agent, request } from 'undici';
import { revocationEntryId } from '../../src/stores/contracts/entry-id.ts';
import { eventually } from '../rows/eventually.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';
import { startSidecar, type TestSidecar, tokenFor } from '../support/sidecar.ts';

/** The issuer of the tokens. */
export const ISSUER = 'https://id.test/';
/** Longest that recovery may take: generous, because nothing here is about speed. */
export const RECOVERS_MS = 20_000;

/** How a world is made. */
export interface WorldOptions {
  /** With a control plane behind both replicas. */
  readonly postgres?: boolean;
  /** Where the replicas think that Redis is; default: where it is. */
  readonly redisUrl?: string;
  readonly redisArgs?: readonly string[];
  readonly onStoreDown?: 'known' | 'deny';
}

/** A parsed answer. */
export interface Answered {
  readonly status: number;
  readonly json: ReturnType<typeof JSON.parse>;
}

/** One replica, with the revoked that it must refuse by now. */
export class ReplicaUnderLoad implements AsyncDisposable {
  readonly sidecar: TestSidecar;
  /** Subjects that it must not let through any more, with a token of each. */
  readonly refused = new Map<string, string>();
  readonly #proxy = new Agent({ connections: 4 });
  readonly #admin: Agent;

  constructor(sidecar: TestSidecar) {
    this.sidecar = sidecar;
    this.#admin = new Agent({ connect: { socketPath: sidecar.socketPath } });
  }

  /** Status of a request with this token. */
  async ask(token: string, path = '/x'): Promise<number> {
    const headers = { authorization: `Bearer ${token}` };
    const answer = await request(`${this.sidecar.proxyUrl}${path}`, { headers, dispatcher: this.#proxy });
    await answer.body.dump();
    return answer.statusCode;
  }

  /** A call of the admin API. */
  async call(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object): Promise<Answered> {
    const json = body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    const answer = await request(`http://localhost${path}`, { method, dispatcher: this.#admin, ...json });
    const text = await answer.body.text();
    return { status: answer.statusCode, json: text === '' ? {} : JSON.parse(text) };
  }

  /** Ids of the revocations that it knows, sorted, with those that wait. */
  async listed(): Promise<{ readonly ids: readonly string[]; readonly pending: number }> {
    const items: { revoked_id: string; pending: boolean }[] = (await this.call('GET', '/v1/revocations?limit=1000'))
      .json.items;
    return { ids: items.map((item) => item.revoked_id).sort(), pending: items.filter(({ pending }) => pending).length };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#proxy.destroy(), this.#admin.destroy()]);
    await this.sidecar[Symbol.asyncDispose]();
  }
}

/** The two replicas, their Redis, and the account. */
export class World implements AsyncDisposable {
  readonly server: RedisServer;
  readonly admin: Redis;
  readonly a: ReplicaUnderLoad;
  readonly b: ReplicaUnderLoad;
  /** What must not have happened, as text. */
  readonly wrong: string[] = [];
  /** Requests with revoked tokens, and with good ones, so far. */
  readonly asked = { revoked: 0, good: 0, unavailable: 0 };
  /** Statuses that good tokens may get. */
  goodStatuses: readonly number[] = [200];
  readonly #closing: AsyncDisposableStack;
  readonly #upstreamSaw: () => number;
  readonly #start: () => Promise<ReplicaUnderLoad>;
  #running = true;
  #made = 0;
  #load: Promise<unknown>;

  constructor(
    server: RedisServer,
    replicas: readonly [ReplicaUnderLoad, ReplicaUnderLoad],
    { upstreamSaw, start }: { readonly upstreamSaw: () => number; readonly start: () => Promise<ReplicaUnderLoad> },
    closing: AsyncDisposableStack,
  ) {
    this.server = server;
    this.admin = closing.adopt(new Redis(server.url), (redis) => redis.disconnect());
    this.admin.on('error', () => undefined);
    [this.a, this.b] = replicas;
    this.#upstreamSaw = upstreamSaw;
    this.#start = start;
    this.#closing = closing;
    this.#load = Promise.all(replicas.flatMap((replica) => [this.#askRevoked(replica), this.#askGood(replica)]));
  }

  /** Revokes a new subject through `replica`, and expects it to be refused from the answer on: everywhere, or here. */
  async revoke(replica: ReplicaUnderLoad, until = 'forever'): Promise<'all' | 'pending'> {
    this.#made += 1;
    const id = `s${this.#made}`;
    const token = tokenFor({ sub: id });
    const draft = { kind: 'subject', issuer: ISSUER, id, until, reason: 'leaked' };
    const { status, json } = await replica.call('POST', '/v1/revocations', draft);
    assert.equal(status, 201, JSON.stringify(json));
    replica.refused.set(id, token);
    if (json.applied === 'all') for (const one of [this.a, this.b]) one.refused.set(id, token);
    return json.applied;
  }

  /** One more replica, without load of its own. */
  another(): Promise<ReplicaUnderLoad> {
    return this.#start();
  }

  /** Both replicas have been asked about everything revoked so far, so that what follows is not about an answer under way. */
  async settle(): Promise<void> {
    for (const replica of [this.a, this.b]) {
      for (const [id, token] of replica.refused) this.#note(replica, id, await replica.ask(token, '/revoked'));
    }
  }

  /**
   * Redis runs again, and both replicas are connected to it: one that is not cannot hear what the other revokes, and goes by what
   * it knows.
   */
  async restarted(): Promise<void> {
    await this.server.start();
    for (const replica of [this.a, this.b]) {
      const up = async () => (await replica.call('GET', '/readyz')).json.components.store.status !== 'down';
      await eventually(up, RECOVERS_MS);
    }
  }

  /** Both replicas call themselves ready. */
  async ready(): Promise<void> {
    for (const replica of [this.a, this.b]) {
      await eventually(async () => (await this.#state(replica)) === 'ready', RECOVERS_MS);
    }
  }

  /** Every revocation is known to both and to Redis, none waits, and both are in step; then whether nothing went wrong. */
  async recovered(): Promise<void> {
    const all = [...new Set([...this.a.refused.keys(), ...this.b.refused.keys()])].sort();
    const wanted = JSON.stringify({ ids: all, pending: 0 });
    for (const replica of [this.a, this.b]) {
      await eventually(async () => JSON.stringify(await replica.listed()) === wanted, RECOVERS_MS);
      await eventually(async () => (await this.#state(replica)) === 'ready', RECOVERS_MS);
      for (const id of all) assert.equal(await replica.ask(tokenFor({ sub: id })), 401, id);
      assert.equal(await replica.ask(tokenFor({ sub: 'nobody' })), 200);
    }
    const fields = await this.admin.hkeys(KEYS.entries);
    assert.deepEqual(fields.sort(), [...all.map((id) => revocationEntryId('subject', ISSUER, id)), 'whole'].sort());
    await this.stop();
  }

  /** Ends the load and says what went wrong, which is nothing. */
  async stop(): Promise<void> {
    this.#running = false;
    await this.#load;
    assert.deepEqual(this.wrong, []);
    assert.equal(this.#upstreamSaw(), 0, 'no request with a revoked token reached the application');
    assert.ok(this.asked.revoked > 0 && this.asked.good > 0, JSON.stringify(this.asked));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#running = false;
    await this.#load;
    await this.#closing.disposeAsync();
  }

  async #state(replica: ReplicaUnderLoad): Promise<string> {
    const { json } = await replica.call('GET', '/readyz');
    return json.components.revocations.detail.state;
  }

  async #askRevoked(replica: ReplicaUnderLoad): Promise<void> {
    while (this.#running) {
      for (const [id, token] of replica.refused) {
        if (!this.#running) return;
        this.#note(replica, id, await replica.ask(token, '/revoked').catch(() => -1));
        await sleep(3);
      }
      await sleep(3);
    }
  }

  async #askGood(replica: ReplicaUnderLoad): Promise<void> {
    const token = tokenFor({ sub: 'good' });
    while (this.#running) {
      const status = await replica.ask(token).catch(() => -1);
      this.asked.good += 1;
      if (status === 503) this.asked.unavailable += 1;
      if (!this.goodStatuses.includes(status)) this.wrong.push(`${this.#name(replica)}: good token ${status}`);
      await sleep(5);
    }
  }

  /** 503 is how a replica refuses that is told to deny what it cannot know. */
  #note(replica: ReplicaUnderLoad, id: string, status: number): void {
    this.asked.revoked += 1;
    const expected = status === 401 || (status === 503 && this.goodStatuses.includes(503));
    if (!expected) this.wrong.push(`${this.#name(replica)}: revoked ${id} ${status}`);
  }

  #name(replica: ReplicaUnderLoad): string {
    return replica === this.a ? 'a' : 'b';
  }
}

/** Names of the keys of the log. */
export const KEYS = {
  head: 'doorward:v1:{rev}:head',
  entries: 'doorward:v1:{rev}:entries',
  expiry: 'doorward:v1:{rev}:expiry',
  log: 'doorward:v1:{rev}:log',
};

/** Configuration of a replica. */
function configOf(redisUrl: string, { onStoreDown = 'known' }: WorldOptions): Record<string, unknown> {
  return {
    // Long enough that a busy machine never makes a request decide before its replica has caught up.
    redis: { url: { value: redisUrl }, timeout: '2s' },
    revocation: { on_store_down: onStoreDown },
    limits: { wide: { key: 'ip', rate: '1000000/1m', on_store_down: 'allow' } },
    routes: { all: { match: { prefix: '/' }, limits: ['wide'] } },
    log: { level: 'error' },
  };
}

/** Starts everything, with three subjects revoked through each replica, and the load. */
export async function openWorld(options: WorldOptions = {}): Promise<World> {
  const closing = new AsyncDisposableStack();
  try {
    const server = closing.use(await startRedis(...(options.redisArgs ?? [])));
    const upstream = closing.use(await recordingUpstream());
    const database = options.postgres ? closing.use(await openTestDatabase()) : undefined;
    const config = {
      ...configOf(options.redisUrl ?? server.url, options),
      ...(database ? postgresConfig(database) : {}),
    };
    const start = async () => new ReplicaUnderLoad(await startSidecar(upstream.url, config));
    const replicas = [closing.use(await start()), closing.use(await start())] as const;
    const upstreamSaw = () => upstream.seen.filter(({ url }) => url === '/revoked').length;
    const world = new World(server, replicas, { upstreamSaw, start }, closing);
    for (const replica of replicas) {
      for (let n = 0; n < 3; n += 1) assert.equal(await world.revoke(replica), 'all');
    }
    await world.settle();
    return world;
  } catch (error) {
    await closing.disposeAsync();
    throw error;
  }
}
