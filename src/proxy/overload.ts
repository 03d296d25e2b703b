// Refusing early what could only be served late, so that what is accepted keeps its latency. Two rules: so many requests under
// way and no more; and, as CoDel has it (RFC 8289), while the event loop has been late all through half a second, a share of new
// requests that grows until it is late no more. Lateness is sampled by a timer; a request costs one comparison.
import type { Clock } from '../core/clock.ts';
import type { Exchange } from './exchange.ts';

/** `proxy.max_requests` and `proxy.max_delay`. */
export interface OverloadSettings {
  readonly max_requests: number;
  /** Ms; 0 for never. */
  readonly max_delay: number;
}

/** What it is opened with. */
export interface OverloadOptions {
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly settings: () => OverloadSettings;
  /** Refusing has begun, or has ended and refused so many. */
  readonly onChange: (change: { readonly began: true } | { readonly began: false; readonly refused: number }) => void;
}

const SAMPLE_MS = 50;
/** One late turn is a garbage collection or a big request; late all this time is a queue that does not drain. */
const PATIENCE_MS = 500;
/** Per late sample; under a lasting overload those come once a turn of the event loop. */
const STEP_UP = 0.1;
/** Per punctual sample: half of it in about a second. */
const DECAY = 0.97;
const LEAST_SHARE = 0.02;
/** Some always pass, or nobody could tell that it is over. */
const MOST_SHARE = 0.95;

/** Counts what is under way and says who is refused. */
export class Overload implements Disposable {
  readonly #options: OverloadOptions;
  readonly #timer: NodeJS.Timeout;
  #underWay = 0;
  #share = 0;
  #credit = 0;
  #refused = 0;
  #sampledAtMs: number;
  #lateSinceMs: number | undefined;

  constructor(options: OverloadOptions) {
    this.#options = options;
    this.#sampledAtMs = options.clock.monotonicMs();
    this.#timer = setInterval(() => this.sample(), SAMPLE_MS).unref();
  }

  /** Requests under way, open streams left out. */
  get underWay(): number {
    return this.#underWay;
  }

  /** Share of new requests that is refused now, for lateness. */
  get share(): number {
    return this.#share;
  }

  /** Whether the request that begins now is refused. */
  refuses(): boolean {
    if (this.#underWay >= this.#options.settings().max_requests) return true;
    if (this.#share === 0) return false;
    this.#credit += this.#share;
    if (this.#credit < 1) return false;
    this.#credit -= 1;
    this.#refused += 1;
    return true;
  }

  /** The exchange is under way from now on. */
  begin(exchange: Exchange): void {
    exchange.isUnderWay = true;
    this.#underWay += 1;
  }

  /** It is over, or has become a stream, which has bounds of its own; calling again does nothing. */
  end(exchange: Exchange): void {
    if (!exchange.isUnderWay) return;
    exchange.isUnderWay = false;
    this.#underWay -= 1;
  }

  /** One look at how late the event loop is; the timer calls it. */
  sample(): void {
    const { clock, settings } = this.#options;
    const nowMs = clock.monotonicMs();
    const lateMs = nowMs - this.#sampledAtMs - SAMPLE_MS;
    this.#sampledAtMs = nowMs;
    const { max_delay: most } = settings();
    if (most > 0 && lateMs > most) this.#late(nowMs);
    else this.#punctual();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #late(nowMs: number): void {
    this.#lateSinceMs ??= nowMs;
    if (this.#share === 0 && nowMs - this.#lateSinceMs < PATIENCE_MS) return;
    if (this.#share === 0) this.#options.onChange({ began: true });
    this.#share = Math.min(MOST_SHARE, this.#share + STEP_UP);
  }

  #punctual(): void {
    this.#lateSinceMs = undefined;
    if (this.#share === 0) return;
    this.#share *= DECAY;
    if (this.#share >= LEAST_SHARE) return;
    this.#share = 0;
    this.#credit = 0;
    this.#options.onChange({ began: false, refused: this.#refused });
    this.#refused = 0;
  }
}
