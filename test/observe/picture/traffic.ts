// Who calls the shop while the picture is made: light, steady, of every kind, with a greedy client and a forger for a while.
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';
import type { Fleet } from './fleet.ts';

/** Whom the story revokes. */
export const revoked = 'mallory';

interface Caller {
  /** Requests a second, `atS` seconds after the story began; below 0 before. */
  readonly rate: (atS: number) => number;
  readonly path: string;
  readonly token?: () => string;
}

const between = (fromS: number, toS: number, rate: number) => (atS: number) => (atS >= fromS && atS < toS ? rate : 0);
const soon = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;
/** What comes and goes a little, as people do. */
const about = (rate: number, periodS: number) => (atS: number) =>
  rate * (1 + 0.3 * Math.sin((2 * Math.PI * atS) / periodS));

/** Tokens that are used again for a while, as clients do; a new one of every client each 40 seconds, so that none is cached for good. */
function wallet(fleet: Fleet, client: string, scope = 'read') {
  const held = new Map<number, string>();
  return () => {
    const place = Math.floor(Math.random() * 12);
    const round = Math.floor(Date.now() / 40_000);
    const known = held.get(place + 100 * round);
    if (known !== undefined) return known;
    const token = fleet.token({ sub: `${client}-${place}`, client_id: client, scope });
    held.set(place + 100 * round, token);
    return token;
  };
}

function callersOf(fleet: Fleet): readonly Caller[] {
  const web = wallet(fleet, 'web');
  const office = wallet(fleet, 'office', 'read reports');
  // She goes on with the token that she has.
  const mallory = fleet.token({ sub: revoked, client_id: 'web', exp: soon(1800) });
  const greedy = fleet.token({ sub: 'greedy', client_id: 'robot' });
  const expired = () => fleet.token({ sub: 'late', exp: soon(-120) });
  return [
    { path: '/catalog/1', rate: about(14, 140) },
    { path: '/orders/1', rate: about(16, 200), token: web },
    { path: '/reports/1', rate: about(5, 90), token: office },
    { path: '/orders/2', rate: () => 2, token: () => mallory },
    { path: '/reports/2', rate: () => 0.6, token: web },
    { path: '/orders/3', rate: () => 0.8 },
    { path: '/orders/4', rate: () => 0.5, token: expired },
    { path: '/orders/5', rate: between(25, 75, 9), token: () => greedy },
  ];
}

/** Traffic that is under way. */
export interface Traffic extends AsyncDisposable {
  /** Opens `count` event streams, on each replica in turn; `subjectOf` says whose each is. */
  openStreams(count: number, subjectOf: (number: number) => string): Promise<void>;
  /** Ends the oldest ones. */
  closeStreams(count: number): void;
  /** Answers so far, by status. */
  readonly answers: ReadonlyMap<number, number>;
}

/** Starts it, for a story that begins at `storyAtMs` in Unix time. */
export function startTraffic(fleet: Fleet, storyAtMs: number): Traffic {
  const agentFrom = (localAddress: string) =>
    new Agent({ connect: { ca: fleet.authority, localAddress }, connections: 16, headersTimeout: 20_000 });
  const [agent, elsewhere] = [agentFrom('127.0.0.1'), agentFrom('127.0.0.2')];
  const streaming = new Agent({ connect: { ca: fleet.authority }, bodyTimeout: 0 });
  const answers = new Map<number, number>();
  const streams: (() => void)[] = [];
  let turn = 0;
  const next = () => (fleet.replicas[turn++ % 2] as Fleet['replicas'][0]).proxyUrl;
  const call = async (dispatcher: Agent, path: string, token?: string) => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const { statusCode, body } = await request(`${next()}${path}`, { dispatcher, headers });
    await body.dump();
    answers.set(statusCode, (answers.get(statusCode) ?? 0) + 1);
  };
  const openStream = async (subject: string) => {
    const { body } = await request(`${next()}/events`, {
      dispatcher: streaming,
      headers: { authorization: `Bearer ${fleet.token({ sub: subject, client_id: 'web', exp: soon(1800) })}` },
    });
    body.on('error', () => {}).resume();
    streams.push(() => body.destroy());
  };
  const callers = callersOf(fleet).map((caller) => ({ ...caller, agent, owed: Math.random() }));
  const forged = () => fleet.token({ sub: 'admin' }, 'forged');
  callers.push({ path: '/reports/3', rate: between(85, 115, 8), token: forged, agent: elsewhere, owed: 0 });
  const ending = new AbortController();
  const running = run(callers, storyAtMs, ending.signal, ({ agent: from, path, token }) => call(from, path, token?.()));
  return {
    answers,
    openStreams: async (count, subjectOf) => {
      for (let number = 0; number < count; number += 1) await openStream(subjectOf(number));
    },
    closeStreams: (count) => {
      for (const end of streams.splice(0, count)) end();
    },
    async [Symbol.asyncDispose]() {
      ending.abort();
      await running;
      await Promise.all([agent, elsewhere, streaming].map((each) => each.destroy()));
    },
  };
}

interface Paced extends Caller {
  readonly agent: Agent;
  owed: number;
}

/** Calls of everybody as their rates say, ten times a second; ends with the signal, once all are answered. */
async function run(
  callers: readonly Paced[],
  storyAtMs: number,
  signal: AbortSignal,
  call: (caller: Paced) => Promise<void>,
) {
  const open = new Set<Promise<void>>();
  let lastMs = Date.now();
  while (!signal.aborted) {
    await sleep(100);
    const nowMs = Date.now();
    for (const caller of callers) {
      caller.owed += ((nowMs - lastMs) / 1000) * caller.rate((nowMs - storyAtMs) / 1000);
      for (; caller.owed >= 1; caller.owed -= 1) {
        const asked = call(caller)
          .catch(() => {})
          .finally(() => open.delete(asked));
        open.add(asked);
      }
    }
    lastMs = nowMs;
  }
  await Promise.all(open);
}
