// The schedule of signing keys as a machine: states and times, no store, no clock.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  activateSteps,
  addSteps,
  banSteps,
  nextStepAtMs,
  retireSteps,
  type ScheduledStep,
  type SigningSchedule,
  stepsDue,
} from '../../src/keys/signing-schedule.ts';
import type { SigningKeyRecord } from '../../src/stores/contracts/signing-keys.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const START = Date.UTC(2026, 0, 1);
const schedule: SigningSchedule = {
  algorithm: 'ES256',
  accepted: ['ES256', 'RS256', 'EdDSA'],
  publishBeforeMs: 2 * HOUR,
  rotateEveryMs: 90 * DAY,
  outliveMs: DAY,
};

/** What a store does with steps. Throws where the database would: two active keys. */
function applied(
  keys: readonly SigningKeyRecord[],
  steps: readonly ScheduledStep[],
  nowMs: number,
  made: () => string,
) {
  let next = [...keys];
  for (const step of steps) {
    if (step.type === 'create') next.push(created(step, schedule.algorithm, nowMs, made()));
    else if (step.type === 'forget') next = next.filter(({ kid }) => kid !== step.kid);
    else next = next.map((key) => (key.kid === step.kid ? stepped(key, step) : key));
    assert.ok(next.filter(({ state }) => state === 'active').length <= 1, 'never two active keys');
  }
  return next;
}

function created(
  { state, activateAtMs }: Extract<ScheduledStep, { type: 'create' }>,
  algorithm: SigningKeyRecord['algorithm'],
  createdAtMs: number,
  kid: string,
): SigningKeyRecord {
  const ends = { retireAtMs: undefined, endedAtMs: undefined };
  return { issuer: 'i', kid, algorithm, publicJwk: {}, state, createdAtMs, activateAtMs, ...ends };
}

function stepped(key: SigningKeyRecord, step: Exclude<ScheduledStep, { type: 'create' | 'forget' }>): SigningKeyRecord {
  if (step.type === 'activate') return { ...key, state: 'active', activateAtMs: step.activateAtMs };
  if (step.type === 'begin_retiring') return { ...key, state: 'retiring', retireAtMs: step.retireAtMs };
  return { ...key, state: step.type === 'ban' ? 'banned' : 'retired', endedAtMs: step.endedAtMs };
}

/** Keys under a schedule, as time goes by. */
class Life {
  keys: readonly SigningKeyRecord[] = [];
  nowMs = START;
  #made = 0;

  step(steps: readonly ScheduledStep[] = stepsDue(this.keys, schedule, this.nowMs)): void {
    this.keys = applied(this.keys, steps, this.nowMs, () => `k${++this.#made}`);
  }

  advance(ms: number): this {
    this.nowMs += ms;
    this.step();
    return this;
  }

  states(): string {
    return this.keys.map(({ kid, state }) => `${kid} ${state}`).join(', ');
  }
}

const begun = () => new Life().advance(0);

test('L17: on an empty database a key is made and signs at once', () => {
  assert.deepEqual(stepsDue([], schedule, START), [{ type: 'create', state: 'active', activateAtMs: START }]);
  assert.equal(begun().states(), 'k1 active');
});

test('nothing is due between rotations, and asking twice changes nothing', () => {
  const life = begun();
  assert.deepEqual(stepsDue(life.keys, schedule, START + 89 * DAY), []);
  assert.equal(nextStepAtMs(life.keys, schedule), START + 90 * DAY - 2 * HOUR);
});

test('the next key is published two hours before it signs', () => {
  const life = begun().advance(90 * DAY - 2 * HOUR);
  assert.equal(life.states(), 'k1 active, k2 pending');
  assert.equal(nextStepAtMs(life.keys, schedule), START + 90 * DAY);
  assert.equal(life.advance(2 * HOUR - 1).states(), 'k1 active, k2 pending');
  assert.equal(life.advance(1).states(), 'k1 retiring, k2 active');
});

test('attack 85: the old key stays until the last token it signed has died, then it is retired', () => {
  const life = begun()
    .advance(90 * DAY - 2 * HOUR)
    .advance(2 * HOUR);
  assert.equal(life.advance(DAY - 1).states(), 'k1 retiring, k2 active');
  assert.equal(life.advance(1).states(), 'k1 retired, k2 active');
});

test('L19: three rotations, three kids beside the first, and the last retired ones are kept (H17: at most three)', () => {
  const life = begun();
  const kids = new Set<string>();
  for (let n = 0; n < 6; n += 1) {
    kids.add(life.keys.find(({ state }) => state === 'active')?.kid as string);
    life
      .advance(90 * DAY - 2 * HOUR)
      .advance(2 * HOUR)
      .advance(DAY);
    life.step();
  }
  assert.equal(kids.size, 6);
  assert.equal(life.states(), 'k4 retired, k5 retired, k6 retired, k7 active');
});

test('a replica that slept for a year publishes first, and does not sign with a key that nobody knows', () => {
  const life = begun().advance(365 * DAY);
  assert.equal(life.states(), 'k1 active, k2 pending');
  assert.equal(life.keys[1]?.activateAtMs, life.nowMs + 2 * HOUR);
});

test('another algorithm in the configuration: a key of it is published, then signs; the old one steps down', () => {
  const life = begun();
  const rsa = { ...schedule, algorithm: 'RS256' as const };
  const [create] = stepsDue(life.keys, rsa, START + DAY);
  assert.deepEqual(create, { type: 'create', state: 'pending', activateAtMs: START + DAY + 2 * HOUR });
  const keys = [...life.keys, created(create as Extract<ScheduledStep, { type: 'create' }>, 'RS256', START + DAY, 'r')];
  assert.deepEqual(stepsDue(keys, rsa, START + DAY), []);
  assert.deepEqual(
    stepsDue(keys, rsa, START + DAY + 2 * HOUR).map(({ type }) => type),
    ['begin_retiring', 'activate'],
  );
  assert.deepEqual(
    stepsDue(keys, schedule, START + DAY),
    [{ type: 'retire', kid: 'r', endedAtMs: START + DAY }],
    'back again',
  );
});

test('an active key whose algorithm is accepted no more is replaced at once: its tokens would be refused', () => {
  const strict = { ...schedule, algorithm: 'RS256' as const, accepted: ['RS256'] };
  assert.deepEqual(stepsDue(begun().keys, strict, START + 1), [
    { type: 'begin_retiring', kid: 'k1', retireAtMs: START + 1 + DAY },
    { type: 'create', state: 'active', activateAtMs: START + 1 },
  ]);
});

test('add publishes a key, activate lets it sign at once', () => {
  const life = begun();
  life.step(addSteps(life.keys, schedule, life.nowMs));
  assert.equal(life.states(), 'k1 active, k2 pending');
  assert.throws(() => addSteps(life.keys, schedule, life.nowMs), { kind: 'conflict' });
  life.step(activateSteps(life.keys, 'k2', schedule, life.nowMs));
  assert.equal(life.states(), 'k1 retiring, k2 active');
  assert.throws(() => activateSteps(life.keys, 'k1', schedule, life.nowMs), { kind: 'conflict' });
  assert.throws(() => activateSteps(life.keys, 'none', schedule, life.nowMs), { kind: 'not_found' });
});

test('retiring the active key lets the pending one sign, or a new one', () => {
  const life = begun();
  life.step(retireSteps(life.keys, 'k1', schedule, life.nowMs));
  assert.equal(life.states(), 'k1 retiring, k2 active');
  life.step(addSteps(life.keys, schedule, life.nowMs));
  life.step(retireSteps(life.keys, 'k2', schedule, life.nowMs));
  assert.equal(life.states(), 'k1 retiring, k2 retiring, k3 active');
  life.step(retireSteps(life.keys, 'k1', schedule, life.nowMs));
  assert.equal(life.states(), 'k1 retired, k2 retiring, k3 active');
  assert.throws(() => retireSteps(life.keys, 'k1', schedule, life.nowMs), { kind: 'conflict' });
});

test('banning the active key lets another sign at once; banning again changes nothing', () => {
  const life = begun();
  life.step(banSteps(life.keys, 'k1', schedule, life.nowMs));
  assert.equal(life.states(), 'k1 banned, k2 active');
  assert.deepEqual(banSteps(life.keys, 'k1', schedule, life.nowMs), []);
  life.step(addSteps(life.keys, schedule, life.nowMs));
  life.step(banSteps(life.keys, 'k2', schedule, life.nowMs));
  assert.equal(life.states(), 'k1 banned, k2 banned, k3 active');
  assert.equal(life.advance(400 * DAY).keys[0]?.state, 'banned', 'and it stays banned');
});

test('whatever operators and time do: never two active keys, never none, and no key signs that was not made or published', () => {
  const act = fc.oneof(
    fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 100 * DAY }) }),
    fc.record({ do: fc.constantFrom('add', 'activate', 'retire', 'ban'), at: fc.nat(6) }),
  );
  fc.assert(
    fc.property(fc.array(act, { maxLength: 40 }), (acts) => {
      const life = begun();
      for (const action of acts) {
        if (action.do === 'wait') life.advance((action as { ms: number }).ms);
        else operate(life, action as { do: string; at: number });
        assert.equal(life.keys.filter(({ state }) => state === 'active').length, 1);
        life.step();
        assert.deepEqual(stepsDue(life.keys, schedule, life.nowMs), []);
      }
    }),
    { numRuns: 300 },
  );
});

function operate(life: Life, { do: verb, at }: { do: string; at: number }): void {
  const kid = life.keys[at % life.keys.length]?.kid as string;
  const steps = { activate: activateSteps, retire: retireSteps, ban: banSteps };
  try {
    if (verb === 'add') life.step(addSteps(life.keys, schedule, life.nowMs));
    else life.step(steps[verb as keyof typeof steps](life.keys, kid, schedule, life.nowMs));
  } catch (error) {
    if ((error as { kind?: string }).kind !== 'conflict') throw error;
  }
}
