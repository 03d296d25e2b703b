// What a run of attacks says while it goes on: a line when it first waits for a limit, and one every five seconds. Told from the
// loop that fires, so nothing has to be stopped when the run ends or fails.
import type { Progress } from './attack-run.ts';

/** Silence that an operator takes for work, ms. */
const EVERY_MS = 5000;

/**
 * Makes the reporter of a run that begins at `nowMs()` (monotonic, ms); it prints lines such as
 * `/admin: 41 of 228, waiting 12 s for a limit`.
 */
export function progressLines(print: (line: string) => void, nowMs: () => number): (progress: Progress) => void {
  let saidAtMs = nowMs();
  let toldOfWaiting = false;
  return ({ target, done, total, waitingMs }) => {
    const isFirstWait = waitingMs > 0 && !toldOfWaiting;
    if (!isFirstWait && nowMs() - saidAtMs < EVERY_MS) return;
    saidAtMs = nowMs();
    toldOfWaiting ||= waitingMs > 0;
    const waiting = waitingMs > 0 ? `, waiting ${Math.ceil(waitingMs / 1000)} s for a limit` : '';
    print(`${target}: ${done} of ${total}${waiting}`);
  };
}
