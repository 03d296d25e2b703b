// Two real sidecars on one Redis under steady traffic: callers with good tokens and with revoked ones, while something breaks.
// Writes down what no fault may bring about. A replica that is cut off from Redis cannot know what is revoked meanwhile: with
// `known` it goes on by what it knew, with `deny` it answers 503; so each is held to what it promises.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'undici';
import { until } from '../revocation/until.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar, type TestSidecar, tokenFor } from '../support/sidecar.ts';

/** What the traffic has seen. */
export interface Tally {
  readonly statuses: Map<number, number>;
  /** Requests with a token whose revocation had been acknowledged before they began, and that got through. */
  readonly wronglyAllowed: string[];
  /** Answers that nothing configured explains. */
  readonly odd: string[];
  /** Longest time between two allowed requests, in ms. */
  longestPauseMs: number;
}

/** The running fleet. */
export interface Fleet extends AsyncDisposable {
  readonly sidecars: readonly TestSidecar[];
  readonly tally: Tally;
  /** Revokes a token that the traffic goes on using; answers `all` or `pending`. */
  revoke(): Promise<'all' | 'pending'>;
  /** Asks once, by the sidecar at `at`. */
  ask(at: number, token?: string): Promise<number>;
  /** Resolves once so many more requests were answered. */
  served(count: number): Promise<void>;
}

const PERIOD_MS = 5;
/** Longest that a fleet for `known` may serve nobody: far above any timeout here, and far below what a request that hangs takes. */
const PAUSE_MS = 10_000;
const GOOD = 4;

/** Starts two sidecars with `config` and the traffic. */
export async function startFleet(config: Readonly<Record<string, unknown>>): Promise<Fleet> {
  const upstream = await recordingUpstream();
  const sidecars = await Promise.all([0, 1].map(() => startSidecar(upstream.url, config)));
  const agent = new Agent({ connections: 32 });
  const good = Array.from({ length: GOOD }, (_, at) => tokenFor({ sub: `good${at}`, jti: `good${at}` }));
  const revoked: string[] = [];
  const statuses = new Map<number, number>();
  const tally: Tally = { statuses, wronglyAllowed: [], odd: [], longestPauseMs: 0 };
  let served = 0;
  let allowedAtMs = performance.now();
  const ask = async (at: number, token = good[0] as string) => {
    const url = (sidecars[at] as TestSidecar).proxyUrl;
    const answer = await request(url, { dispatcher: agent, headers: { authorization: `Bearer ${token}` } });
    const text = await answer.body.text();
    served += 1;
    statuses.set(answer.statusCode, (statuses.get(answer.statusCode) ?? 0) + 1);
    if (![200, 401, 429, 503].includes(answer.statusCode)) tally.odd.push(`${answer.statusCode} ${text}`);
    return answer.statusCode;
  };
  let running = true;
  const worker = async (at: number) => {
    for (let turn = at; running; turn += 1) {
      const bad = turn % 3 === 0 ? revoked[turn % Math.max(1, revoked.length)] : undefined;
      const status = await ask(turn % 2, bad ?? good[turn % GOOD]).catch((error: unknown) => {
        if (running) tally.odd.push(String(error));
        return 0;
      });
      if (bad === undefined && (status === 401 || status === 429)) tally.odd.push(`${status} for a good token`);
      if (status === 200 && bad !== undefined) tally.wronglyAllowed.push(`revoked token ${revoked.indexOf(bad)}`);
      if (status === 200) {
        tally.longestPauseMs = Math.max(tally.longestPauseMs, performance.now() - allowedAtMs);
        allowedAtMs = performance.now();
      }
      await new Promise((resolve) => setTimeout(resolve, PERIOD_MS));
    }
  };
  const workers = [0, 1, 2, 3].map(worker);
  return {
    sidecars,
    tally,
    ask,
    async revoke() {
      const id = `revoked${revoked.length}.${Math.random()}`;
      const token = tokenFor({ sub: id, jti: id });
      const sidecar = sidecars[0] as TestSidecar;
      const answer = await request(`${sidecar.adminUrl}/v1/revocations`, {
        method: 'POST',
        dispatcher: agent,
        headers: {
          authorization: `Bearer ${readFileSync(sidecar.adminTokenFile, 'utf8').trim()}`,
          'content-type': 'application/json',
        },
        body: JSON.stringify({ token }),
      });
      const { applied } = (await answer.body.json()) as { applied: 'all' | 'pending' };
      if (applied === 'all') revoked.push(token);
      return applied;
    },
    async served(count) {
      const wanted = served + count;
      while (served < wanted) await new Promise((resolve) => setTimeout(resolve, 10));
    },
    async [Symbol.asyncDispose]() {
      running = false;
      await Promise.all(workers);
      await agent.destroy();
      await Promise.all(sidecars.map((sidecar) => sidecar[Symbol.asyncDispose]()));
      await upstream[Symbol.asyncDispose]();
    },
  };
}

async function isReady({ observeUrl }: TestSidecar): Promise<boolean> {
  const answer = await request(`${observeUrl}/readyz`);
  const { components } = (await answer.body.json()) as { components: Record<string, { status: string }> };
  return components.store?.status !== 'down' && components.revocations?.status === 'up';
}

/** A fleet for `known` and one for `deny`, on the same Redis. */
export interface Fleets extends AsyncDisposable {
  /** Runs the fault; the fleet for `deny` goes on revoking meanwhile. */
  endure(fault: () => Promise<void>): Promise<void>;
  /** Runs what no request may notice: revoking counts everywhere at once, and all is served, by the fleet for `deny` as well. */
  serve(change: () => Promise<void>): Promise<void>;
  /** Waits until revoking counts everywhere again, and asserts what was seen. */
  judge(): Promise<void>;
}

/** Starts both with limits that never refuse, and some revoked tokens each. */
export async function startFleets(redis: object): Promise<Fleets> {
  const start = (name: string, onStoreDown: string) =>
    startFleet({
      name,
      redis: { ...redis, prefix: `${name}.${Math.random()}` },
      revocation: { on_store_down: onStoreDown },
      limits: { per_client: { key: 'subject', rate: '100000/1m', on_store_down: 'local' } },
      defaults: { limits: ['per_client'] },
    });
  const [known, deny] = await Promise.all([start('known', 'known'), start('deny', 'deny')]);
  const both = [known, deny];
  const allowed = () => known.tally.statuses.get(200) ?? 0;
  const end = async () => void (await Promise.all(both.map((fleet) => fleet[Symbol.asyncDispose]())));
  try {
    // Sentinels that have just changed a server's role end its connections: whatever was under way is pending then.
    for (const fleet of both)
      for (let n = 0; n < 3; n += 1) await until(async () => (await fleet.revoke()) === 'all', 30_000);
    await Promise.all(both.map((fleet) => fleet.served(100)));
  } catch (error) {
    await end();
    throw error;
  }
  return {
    async endure(fault) {
      let over = false;
      const revoking = (async () => {
        while (!over) await deny.revoke();
      })();
      try {
        const before = allowed();
        await fault();
        assert.ok(allowed() > before, 'served while it was broken, by what was known');
        await Promise.all(both.map((fleet) => fleet.served(200)));
      } finally {
        over = true;
        await revoking;
      }
    },
    async serve(change) {
      await change();
      for (const fleet of both) {
        for (let n = 0; n < 5; n += 1) assert.equal(await fleet.revoke(), 'all');
        await fleet.served(300);
        assert.deepEqual([...fleet.tally.statuses.keys()].sort(), [200, 401], 'served throughout');
      }
    },
    async judge() {
      // Until its own connection is back a replica for `known` cannot know what others revoke.
      for (const sidecar of known.sidecars) await until(() => isReady(sidecar), 30_000);
      for (const fleet of both) {
        await until(async () => (await fleet.revoke()) === 'all', 30_000);
        await fleet.served(100);
        assert.deepEqual(fleet.tally.wronglyAllowed, []);
        assert.deepEqual(fleet.tally.odd, []);
      }
      assert.deepEqual([...known.tally.statuses.keys()].sort(), [200, 401], 'served throughout');
      assert.ok(known.tally.longestPauseMs < PAUSE_MS, `nobody was served for ${known.tally.longestPauseMs} ms`);
      assert.deepEqual(
        [...deny.tally.statuses.keys()].filter((status) => ![200, 401, 503].includes(status)),
        [],
      );
    },
    [Symbol.asyncDispose]: end,
  };
}
