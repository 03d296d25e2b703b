// When a signing key is made, signs, steps down and goes: pure functions of the keys, the settings and the time (design 6).
// A key is published longer before it signs than anybody may cache the key set, and until its last token has died.
import { SidecarError } from '../core/errors.ts';
import type { SigningKeyAlgorithm, SigningKeyRecord } from '../stores/contracts/signing-keys.ts';

/** Settings of one issuer block, in ms. */
export interface SigningSchedule {
  readonly algorithm: SigningKeyAlgorithm;
  /** Algorithms that the issuer block accepts: an active key of another one could sign only tokens that nobody takes. */
  readonly accepted: readonly string[];
  readonly publishBeforeMs: number;
  readonly rotateEveryMs: number;
  /** How long a token may live after its key has stepped down: longest lifetime, tolerance, and a replica's delay. */
  readonly outliveMs: number;
}

/** What shall happen; a new key has no kid yet. */
export type ScheduledStep =
  | { readonly type: 'create'; readonly state: 'pending' | 'active'; readonly activateAtMs: number }
  | { readonly type: 'activate'; readonly kid: string; readonly activateAtMs: number }
  | { readonly type: 'begin_retiring'; readonly kid: string; readonly retireAtMs: number }
  | { readonly type: 'retire'; readonly kid: string; readonly endedAtMs: number }
  | { readonly type: 'ban'; readonly kid: string; readonly endedAtMs: number }
  | { readonly type: 'forget'; readonly kid: string };

/** Retired keys that are kept for the record, newest first (H17); banned ones are kept all. */
const RETIRED_KEPT = 3;

type Keys = readonly SigningKeyRecord[];

/** What is due now. Empty when nothing is: after its steps were applied, asking again yields nothing. */
export function stepsDue(keys: Keys, schedule: SigningSchedule, nowMs: number): readonly ScheduledStep[] {
  return [...activation(keys, schedule, nowMs), ...retirement(keys, schedule, nowMs), ...forgetting(keys)];
}

/** When something will be due next; undefined when never without an operator. */
export function nextStepAtMs(keys: Keys, { publishBeforeMs, rotateEveryMs }: SigningSchedule): number | undefined {
  const pending = keys.some(({ state }) => state === 'pending');
  const times = keys.flatMap(({ state, activateAtMs, retireAtMs }) => {
    if (state === 'pending') return [activateAtMs];
    if (state === 'retiring') return [retireAtMs ?? 0];
    return state === 'active' && !pending ? [activateAtMs + rotateEveryMs - publishBeforeMs] : [];
  });
  return times.length === 0 ? undefined : Math.min(...times);
}

function activation(keys: Keys, schedule: SigningSchedule, nowMs: number): readonly ScheduledStep[] {
  const { algorithm, accepted, publishBeforeMs, rotateEveryMs } = schedule;
  const active = keys.find(({ state }) => state === 'active');
  const pending = nextPending(keys, algorithm);
  if (active === undefined) {
    return pending === undefined ? [createNow(nowMs)] : [{ type: 'activate', kid: pending.kid, activateAtMs: nowMs }];
  }
  if (pending !== undefined)
    return pending.activateAtMs <= nowMs ? succession(active, pending.kid, schedule, nowMs) : [];
  if (!accepted.includes(active.algorithm)) return [stepDown(active, schedule, nowMs), createNow(nowMs)];
  const dueAtMs = active.algorithm === algorithm ? active.activateAtMs + rotateEveryMs : nowMs;
  if (nowMs < dueAtMs - publishBeforeMs && active.algorithm === algorithm) return [];
  return [{ type: 'create', state: 'pending', activateAtMs: Math.max(dueAtMs, nowMs + publishBeforeMs) }];
}

const createNow = (nowMs: number): ScheduledStep => ({ type: 'create', state: 'active', activateAtMs: nowMs });

/** The pending key of the wanted algorithm that is due first. */
function nextPending(keys: Keys, algorithm: string): SigningKeyRecord | undefined {
  return keys
    .filter((key) => key.state === 'pending' && key.algorithm === algorithm)
    .toSorted((a, b) => a.activateAtMs - b.activateAtMs)[0];
}

/** The old one steps down first: there is never more than one. */
function succession(
  active: SigningKeyRecord,
  kid: string,
  schedule: SigningSchedule,
  nowMs: number,
): readonly ScheduledStep[] {
  return [stepDown(active, schedule, nowMs), { type: 'activate', kid, activateAtMs: nowMs }];
}

const stepDown = ({ kid }: SigningKeyRecord, { outliveMs }: SigningSchedule, nowMs: number): ScheduledStep => ({
  type: 'begin_retiring',
  kid,
  retireAtMs: nowMs + outliveMs,
});

function retirement(keys: Keys, { algorithm }: SigningSchedule, nowMs: number): readonly ScheduledStep[] {
  return keys
    .filter((key) => {
      // A pending key of an algorithm that is configured no more would wait, published, for ever.
      if (key.state === 'pending') return key.algorithm !== algorithm;
      return key.state === 'retiring' && (key.retireAtMs ?? 0) <= nowMs;
    })
    .map(({ kid }) => ({ type: 'retire', kid, endedAtMs: nowMs }));
}

function forgetting(keys: Keys): readonly ScheduledStep[] {
  return keys
    .filter(({ state }) => state === 'retired')
    .toSorted((a, b) => (b.endedAtMs ?? 0) - (a.endedAtMs ?? 0))
    .slice(RETIRED_KEPT)
    .map(({ kid }) => ({ type: 'forget', kid }));
}

/** `key rotate`: a new key, published now, that signs once everybody can know it. Throws when one is pending already. */
export function addSteps(keys: Keys, schedule: SigningSchedule, nowMs: number): readonly ScheduledStep[] {
  const pending = nextPending(keys, schedule.algorithm);
  if (pending !== undefined) throw refused(`key ${pending.kid} is pending already; activate it, or retire it first`);
  return [{ type: 'create', state: 'pending', activateAtMs: nowMs + schedule.publishBeforeMs }];
}

/** `key activate`: the pending key signs at once. Throws when the key is not pending. */
export function activateSteps(
  keys: Keys,
  kid: string,
  schedule: SigningSchedule,
  nowMs: number,
): readonly ScheduledStep[] {
  const key = requireKey(keys, kid);
  if (key.state !== 'pending') throw refused(`the key is ${key.state}; only a pending one can be activated`);
  const active = keys.find(({ state }) => state === 'active');
  return active === undefined
    ? [{ type: 'activate', kid, activateAtMs: nowMs }]
    : succession(active, kid, schedule, nowMs);
}

/**
 * `key retire`: an active key steps down for the pending one, or for a new one made now, and stays published until its
 * tokens have died; a pending or retiring key goes at once. Throws for a key that has ended.
 */
export function retireSteps(
  keys: Keys,
  kid: string,
  schedule: SigningSchedule,
  nowMs: number,
): readonly ScheduledStep[] {
  const key = requireKey(keys, kid);
  if (key.state === 'pending' || key.state === 'retiring') return [{ type: 'retire', kid, endedAtMs: nowMs }];
  if (key.state !== 'active') throw refused(`the key is ${key.state} already`);
  return [stepDown(key, schedule, nowMs), successor(keys, schedule, nowMs)];
}

/** `key ban`: whatever its state, it goes at once; when it signed, another one signs at once. Nothing for a banned key. */
export function banSteps(keys: Keys, kid: string, schedule: SigningSchedule, nowMs: number): readonly ScheduledStep[] {
  const key = requireKey(keys, kid);
  if (key.state === 'banned') return [];
  const ban: ScheduledStep = { type: 'ban', kid, endedAtMs: nowMs };
  return key.state === 'active' ? [ban, successor(keys, schedule, nowMs)] : [ban];
}

function successor(keys: Keys, { algorithm }: SigningSchedule, nowMs: number): ScheduledStep {
  const pending = nextPending(keys, algorithm);
  return pending === undefined ? createNow(nowMs) : { type: 'activate', kid: pending.kid, activateAtMs: nowMs };
}

function requireKey(keys: Keys, kid: string): SigningKeyRecord {
  const key = keys.find((candidate) => candidate.kid === kid);
  if (key === undefined) throw new SidecarError('not_found', 'resource_not_found', 'the issuer has no such key');
  return key;
}

const refused = (message: string) => new SidecarError('conflict', 'key_state_refused', message);
