// A caller of a chaos run who asks for more than its limit allows, through both replicas. Its limit is exact, so every window of
// the run in which the counters were there is held against it: never one request more, and nobody refused too soon.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Books } from './books.ts';
import { at, type Callers, type Party } from './callers.ts';
import { tight } from './world.ts';

const LANES = 2;
const PAUSE_MS = 250;
/** Redis counts by its own clock, in whole milliseconds. */
const CLOCKS_MS = 5;

/** When a request was under way; the limit was asked in between. */
interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** One subject, over its limit. */
export class Limited implements Party {
  readonly #books: Books;
  readonly #callers: Callers;
  readonly #token: string;
  #running = true;
  #work: Promise<unknown> = Promise.resolve();
  /** Of the last windows: let in for certain, and perhaps. */
  readonly #admitted: Span[] = [];
  readonly #charged: Span[] = [];
  #admittedCount = 0;
  #refused = 0;
  #judged = 0;
  /** Let in within one window at most, where that was judged. */
  #most = 0;

  constructor(books: Books, callers: Callers) {
    this.#books = books;
    this.#callers = callers;
    this.#token = callers.mint();
  }

  get told(): string {
    const judged = `${this.#judged} held against their window: at most ${this.#most} of ${tight.limit} let in`;
    return `limit ${tight.rate}: ${this.#admittedCount} let in, ${this.#refused} refused 429, ${judged}`;
  }

  start(): void {
    this.#work = Promise.all(Array.from({ length: LANES }, (_, index) => this.#lane(index)));
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#work;
  }

  conclude(): void {
    if (this.#admittedCount === 0 || this.#refused === 0) this.#books.blame(`a limit without effect: ${this.told}`);
  }

  async #lane(lane: number): Promise<void> {
    for (let turn = lane; this.#running; turn += 1) {
      const asked = { replica: at(turn), path: tight.path, method: 'POST', kind: 'limited' } as const;
      const { answer, fromMs } = await this.#callers.attempt(asked, this.#token);
      const span = { fromMs, toMs: performance.now() };
      if (answer.status === 429) this.#refuse(span);
      // What the application did not answer, or nobody did, had been counted or not.
      else if (answer.status !== 401) this.#charged.push(span);
      if (answer.status === 200) this.#admit(span);
      this.#forget();
      await sleep(PAUSE_MS);
    }
  }

  #admit(span: Span): void {
    this.#admittedCount += 1;
    this.#admitted.push(span);
    const whole = this.#admitted.filter(({ fromMs }) => span.toMs - fromMs < tight.windowMs - CLOCKS_MS).length;
    if (!this.#isJudged(span)) return;
    this.#most = Math.max(this.#most, whole);
    if (whole > tight.limit) this.#books.blame(`${whole} requests let in within ${tight.windowMs} ms`);
  }

  #refuse(span: Span): void {
    this.#refused += 1;
    const within = this.#charged.filter(({ toMs }) => span.fromMs - toMs < tight.windowMs + CLOCKS_MS).length;
    // One of each other lane may be under way.
    if (this.#isJudged(span) && within + LANES - 1 < tight.limit)
      this.#books.blame(`429 after ${within} requests within ${tight.windowMs} ms`);
  }

  /** Counters of two windows ago were the ones of now: nobody counted for himself, and nothing was forgotten. */
  #isJudged({ fromMs }: Span): boolean {
    const sinceMs = fromMs - 2 * tight.windowMs;
    const isWhole = (['store', 'gone0', 'gone1'] as const).every((loss) => !this.#books.lost(loss, sinceMs));
    if (isWhole) this.#judged += 1;
    return isWhole;
  }

  #forget(): void {
    const untilMs = performance.now() - 3 * tight.windowMs;
    for (const spans of [this.#admitted, this.#charged]) {
      while ((spans[0]?.fromMs ?? Number.POSITIVE_INFINITY) < untilMs) spans.shift();
    }
  }
}
