// Fires attacks one after the other and judges each: did anything of it reach the recorder, or, where only answers can be seen,
// was the answer a refusal.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Attack, attacks, SPOOFED } from './attack-list.ts';
import type { Recorder } from './attack-scene.ts';
import type { AttackTarget, Shot } from './attack-target.ts';
import { type Door, type Echo, shoot } from './attack-wire.ts';

/**
 * `refused`: nothing got through. `bypass`: something did. `unclear`: the answer is no refusal of a sidecar and no success.
 * `limited`: 429, so it was not judged. `unreached`: there was no time left for it.
 */
export type Verdict = 'refused' | 'bypass' | 'unclear' | 'limited' | 'unreached';

/** How one request of an attack ended. */
export interface Outcome {
  readonly id: number;
  readonly name: string;
  readonly target: string;
  readonly what: string;
  readonly verdict: Verdict;
  /** Status of the first answer; 0 when there was none. */
  readonly status: number;
}

/** How far the run is with a target. */
export interface Progress {
  readonly target: string;
  /** Requests that are over, of `total`. */
  readonly done: number;
  readonly total: number;
  /** How much longer the next one waits for a limit, ms; 0 when it does not. */
  readonly waitingMs: number;
}

/** How to fire. */
export interface Firing {
  readonly door: (host: string) => Door;
  /** Undefined where only answers can be seen. */
  readonly recorder: Recorder | undefined;
  /** Pause between two requests, ms. */
  readonly pauseMs: number;
  /** Of one request. */
  readonly timeoutMs: number;
  /** Whether there is time left. */
  readonly hasTime: () => boolean;
  readonly onTarget: (target: AttackTarget, shots: number) => void;
  /** Called before each request, and ten times a second while one waits. */
  readonly onProgress: (progress: Progress) => void;
}

/** What is pipelined behind a refused request may still be on its way. */
const STRAGGLERS_MS = 15;

/** Fires everything at every target; rejects when the sidecar cannot be connected to. */
export async function fireAll(targets: readonly AttackTarget[], firing: Firing): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const target of targets) {
    const fired = attacks.flatMap((attack) => attack.shots(target).map((shot) => [attack, shot] as const));
    const total = fired.length;
    firing.onTarget(target, total);
    for (const [done, [attack, shot]] of fired.entries()) {
      const progress = { target: target.name, done, total, waitingMs: 0 };
      firing.onProgress(progress);
      const onWait = (waitingMs: number) => firing.onProgress({ ...progress, waitingMs });
      outcomes.push(await fire(attack, shot, target, firing, onWait));
    }
  }
  return outcomes;
}

type OnWait = (waitingMs: number) => void;

async function fire(
  attack: Attack,
  shot: Shot,
  target: AttackTarget,
  firing: Firing,
  onWait: OnWait,
): Promise<Outcome> {
  const { id, name, wants } = attack;
  const outcome = (verdict: Verdict, status: number) => {
    return { id, name, target: target.name, what: shot.what, verdict, status };
  };
  // What the application was told cannot be seen from outside.
  if (!firing.hasTime()) return outcome('unreached', 0);
  if (wants === 'clean' && firing.recorder === undefined) return outcome('unclear', 0);
  firing.recorder?.clear();
  const echo = await shootWhenAllowed(target, shot, firing, onWait);
  await sleep(firing.recorder === undefined ? firing.pauseMs : attack.id >= 44 && attack.id <= 50 ? STRAGGLERS_MS : 0);
  const seen = firing.recorder?.bytes();
  return outcome(seen === undefined ? judgeAnswer(echo) : judgeSeen(wants, seen), echo.statuses[0] ?? 0);
}

/** Waits once where a limit says how long: an attack that was refused by a limit was not judged. */
async function shootWhenAllowed(target: AttackTarget, shot: Shot, firing: Firing, onWait: OnWait): Promise<Echo> {
  const fire = () => shoot(firing.door(target.host), shot.bytes, firing.timeoutMs);
  const echo = await fire();
  if (echo.statuses[0] !== 429 || echo.retryAfter === 0) return echo;
  const untilMs = performance.now() + echo.retryAfter * 1000;
  for (let leftMs = echo.retryAfter * 1000; leftMs > 0 && firing.hasTime(); leftMs = untilMs - performance.now()) {
    onWait(leftMs);
    await sleep(100);
  }
  return firing.hasTime() ? fire() : echo;
}

function judgeSeen(wants: Attack['wants'], seen: string): Verdict {
  const isThrough = wants === 'refused' ? seen !== '' : seen.toLowerCase().includes(SPOOFED);
  return isThrough ? 'bypass' : 'refused';
}

function judgeAnswer({ statuses, type }: Echo): Verdict {
  if (statuses.some((status) => status < 400)) return 'bypass';
  const [status] = statuses;
  if (status === 429) return 'limited';
  if (status === undefined || type === 'application/problem+json') return 'refused';
  // Said by a server in front of the sidecar, or by the application: only the first group is a refusal for sure.
  return [400, 401, 403, 405, 413, 414, 417, 431, 501].includes(status) ? 'refused' : 'unclear';
}

/** Asks for the target with its token; true when it was accepted. */
export async function isAccepted(bytes: string, host: string, firing: Firing): Promise<boolean> {
  firing.recorder?.clear();
  const { statuses } = await shoot(firing.door(host), bytes, firing.timeoutMs);
  const [status = 0] = statuses;
  return firing.recorder === undefined ? status < 400 && status > 0 : firing.recorder.bytes() !== '';
}
