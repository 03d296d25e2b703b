// Relaxations of the configuration in force: said when it comes into force, and shadow mode ended when its date comes while the
// program runs. Then the configuration is compiled again, as a reload would, and from then on requests, open streams and limits
// are judged by what is left of it. Costs requests nothing.
import type { LoadedConfig } from '../config/loaded.ts';
import { formatProblem } from '../config/problem.ts';
import { relaxations } from '../config/relaxations.ts';
import { enforcedSince, nextShadowEnd } from '../config/shadow.ts';
import type { Clock } from '../core/clock.ts';
import type { Log } from '../telemetry/log.ts';

/** What it needs. */
export interface RelaxedParts {
  readonly clock: Clock;
  readonly log: Log;
  /** False in a worker: its primary says what is relaxed. */
  readonly says: boolean;
  /** Puts the configuration in force once more, as it holds now; may throw. */
  readonly again: () => void;
}

/** Looks at the clock this often: dates are weeks ahead, timers end after 24 days, and clocks are set. */
const LOOK_MS = 1_000;

/** Follows the configuration in force. */
export class Relaxed implements Disposable {
  readonly #parts: RelaxedParts;
  #timer: NodeJS.Timeout | undefined;
  #endMs: number | undefined;
  #ended = '';
  #said = '';
  #failed = false;

  constructor(parts: RelaxedParts) {
    this.#parts = parts;
  }

  /** A configuration has come into force, as it was compiled: says what it relaxes (`relaxed`) and what is over (`shadow_ended`), where that is new. */
  follow(loaded: LoadedConfig): void {
    const nowMs = this.#parts.clock.nowMs();
    this.#endMs = nextShadowEnd(loaded.config);
    this.#failed = false;
    if (this.#parts.says) this.#sayRelaxed(loaded, nowMs);
    this.#sayEnded(loaded, nowMs);
    clearInterval(this.#timer);
    this.#timer = this.#endMs === undefined ? undefined : setInterval(() => this.#look(), LOOK_MS).unref();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #sayRelaxed(loaded: LoadedConfig, nowMs: number): void {
    const settings = relaxations(loaded, nowMs).map(formatProblem);
    const said = settings.join('\n');
    if (said !== this.#said) this.#parts.log.info({ settings }, 'relaxed');
    this.#said = said;
  }

  #sayEnded({ config }: LoadedConfig, nowMs: number): void {
    const enforced = enforcedSince(config, nowMs);
    const ended = enforced.join(' ');
    if (ended !== this.#ended && ended !== '') this.#parts.log.warn({ enforced }, 'shadow_ended');
    this.#ended = ended;
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
