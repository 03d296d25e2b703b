// Ends shadow mode when its date comes while the program runs: the configuration in force is compiled again, as a reload would,
// and from then on `shadow_until` is over for requests, open streams and limits alike. Costs requests nothing.
import type { LoadedConfig } from '../config/loaded.ts';
import { nextShadowEnd, overdue } from '../config/shadow.ts';
import type { Clock } from '../core/clock.ts';
import type { Log } from '../telemetry/log.ts';

/** What it needs. */
export interface ShadowEndsParts {
  readonly clock: Clock;
  readonly log: Log;
  /** Puts the configuration in force once more, as it holds now; may throw. */
  readonly again: () => void;
}

/** Looks at the clock this often: dates are weeks ahead, timers end after 24 days, and clocks are set. */
const LOOK_MS = 1_000;

/** Follows the dates of the configuration in force. */
export class ShadowEnds implements Disposable {
  readonly #parts: ShadowEndsParts;
  #timer: NodeJS.Timeout | undefined;
  #endMs: number | undefined;
  #told = '';
  #failed = false;

  constructor(parts: ShadowEndsParts) {
    this.#parts = parts;
  }

  /** Says what is over already (`shadow_ended`), and waits for the next date of a configuration that has come into force. */
  follow({ config }: LoadedConfig): void {
    const { clock, log } = this.#parts;
    const nowMs = clock.nowMs();
    this.#endMs = nextShadowEnd(config, nowMs);
    this.#failed = false;
    const ended = overdue(config, nowMs);
    const told = ended.join(' ');
    if (told !== this.#told && ended.length > 0) log.warn({ enforced: ended }, 'shadow_ended');
    this.#told = told;
    clearInterval(this.#timer);
    this.#timer = this.#endMs === undefined ? undefined : setInterval(() => this.#look(), LOOK_MS).unref();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  /** What cannot be compiled now is tried again: shadow mode must not go on for good because a file was away. */
  #look(): void {
    const { clock, log, again } = this.#parts;
    if (this.#endMs === undefined || clock.nowMs() < this.#endMs) return;
    try {
      again();
    } catch (error) {
      if (!this.#failed) log.error({ err: error }, 'shadow_end_failed');
      this.#failed = true;
    }
  }
}
