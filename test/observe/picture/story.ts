// What happens in the five minutes of the picture, so that every panel of the dashboard has something to show.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fleet } from './fleet.ts';
import { revoked, type Traffic } from './traffic.ts';

/** How long it takes, in seconds. */
export const STORY_S = 300;

interface Happening {
  readonly atS: number;
  readonly what: string;
  readonly act: () => unknown;
}

const reader = (number: number) => `reader-${number}`;

function happenings(fleet: Fleet, traffic: Traffic): readonly Happening[] {
  const { replicas, redis, database, applications } = fleet;
  const [one, other] = replicas;
  // One setting that holds at once, and one that waits for a restart.
  const another = { revocation: { known_for: '20m' }, audit: { retention: '500d' } };
  let newKey = '';
  const rotate = async () => {
    const { keys } = (await one.admin('POST', '/v1/keys', { issuer: 'shop' })) as { keys: Record<string, string>[] };
    newKey = keys.find(({ state }) => state === 'pending')?.kid as string;
  };
  const revoke = () =>
    one.admin('POST', '/v1/revocations', { kind: 'subject', issuer: 'corp', id: revoked, not_before: 'now' });
  return [
    { atS: 10, what: '12 people open event streams', act: () => traffic.openStreams(12, reader) },
    { atS: 30, what: 'mallory opens 5', act: () => traffic.openStreams(5, () => revoked) },
    { atS: 60, what: 'some close theirs', act: () => traffic.closeStreams(4) },
    { atS: 130, what: 'mallory is revoked', act: revoke },
    { atS: 150, what: 'Redis ends, with all it knew', act: () => redis.stop() },
    { atS: 170, what: 'Redis is back, empty', act: () => redis.start() },
    { atS: 190, what: 'PostgreSQL is cut off', act: () => database.cut() },
    { atS: 193, what: 'an operator reloads meanwhile', act: () => one.reload() },
    { atS: 205, what: 'PostgreSQL is back', act: () => database.mend() },
    { atS: 215, what: 'one of two applications ends', act: () => applications[1].stop() },
    { atS: 222, what: 'the other one too', act: () => applications[0].stop() },
    { atS: 225, what: 'that one is back', act: () => applications[0].start() },
    { atS: 235, what: 'and the first', act: () => applications[1].start() },
    { atS: 238, what: 'people open their streams again', act: () => traffic.openStreams(9, reader) },
    { atS: 240, what: 'a new signing key is made', act: rotate },
    { atS: 255, what: 'it signs', act: () => one.admin('POST', `/v1/keys/${newKey}/activate`) },
    { atS: 262, what: 'one replica gets another configuration', act: () => one.reload(another) },
    { atS: 272, what: 'so does the other', act: () => other.reload(another) },
    { atS: 285, what: 'both get their own again', act: () => Promise.all([one.reload(), other.reload()]) },
  ];
}

/** Calls of operators and of the application's own server, every few seconds all along. */
async function operate({ replicas }: Fleet, signal: AbortSignal): Promise<void> {
  for (let turn = 0; !signal.aborted; turn += 1) {
    const replica = replicas[turn % 2] as Fleet['replicas'][0];
    const issue = { issuer: 'shop', subject: `guest-${turn}`, client: 'kiosk' };
    const calls = [
      () => replica.admin('POST', '/v1/tokens', issue),
      () => replica.admin('GET', '/v1/audit'),
      () => replica.admin('POST', '/v1/revocations', { kind: 'token', issuer: 'corp', id: `leaked-${turn}` }),
    ];
    // While a store is away some are refused, as they should be.
    for (const call of calls) await call().catch(() => {});
    await sleep(1500, undefined, { signal }).catch(() => {});
  }
}

/** Lets it happen from `storyAtMs` (Unix time) on, and operators call at once; says what, as it goes. */
export async function tell(
  fleet: Fleet,
  traffic: Traffic,
  storyAtMs: number,
  say: (line: string) => void,
): Promise<void> {
  const until = (atS: number) => sleep(Math.max(0, storyAtMs + atS * 1000 - Date.now()));
  const ending = new AbortController();
  const operating = operate(fleet, ending.signal);
  for (const { atS, what, act } of happenings(fleet, traffic)) {
    await until(atS);
    say(`${String(atS).padStart(3)} s  ${what}`);
    await act();
  }
  await until(STORY_S);
  ending.abort();
  await operating;
}
