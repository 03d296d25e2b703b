// Answers by Idempotency-Key in the memory of one replica: the readable reference of the contract, and what a sidecar
// without PostgreSQL uses. Lost with the process, as everything else it made then.
import type { IdempotencyState, IdempotentAnswers, IdempotentCall, KeptAnswer } from '../contracts/idempotency.ts';

interface Entry {
  readonly requestDigest: string;
  readonly untilMs: number;
  answer: KeptAnswer | undefined;
}

/** Most keys held; the oldest give way, as their callers have had their answer long ago. */
const MOST = 10_000;

/** {@link IdempotentAnswers} in memory. */
export class MemoryIdempotentAnswers implements IdempotentAnswers {
  readonly #entries = new Map<string, Entry>();

  async begin({ keyDigest, requestDigest }: IdempotentCall, nowMs: number, untilMs: number): Promise<IdempotencyState> {
    const found = this.#entries.get(keyDigest);
    if (found === undefined || found.untilMs <= nowMs) {
      this.#entries.delete(keyDigest);
      this.#entries.set(keyDigest, { requestDigest, untilMs, answer: undefined });
      if (this.#entries.size > MOST) this.#entries.delete(this.#entries.keys().next().value as string);
      return { state: 'begun' };
    }
    if (found.requestDigest !== requestDigest) return { state: 'other' };
    return found.answer === undefined ? { state: 'running' } : { state: 'answered', answer: found.answer };
  }

  async finish({ keyDigest, requestDigest }: IdempotentCall, answer: KeptAnswer): Promise<void> {
    const found = this.#entries.get(keyDigest);
    if (found?.requestDigest === requestDigest) found.answer ??= { ...answer };
  }

  async abandon({ keyDigest, requestDigest }: IdempotentCall): Promise<void> {
    const found = this.#entries.get(keyDigest);
    if (found?.requestDigest === requestDigest && found.answer === undefined) this.#entries.delete(keyDigest);
  }

  async expire(nowMs: number): Promise<number> {
    const expired = [...this.#entries].filter(([, { untilMs }]) => untilMs <= nowMs);
    for (const [key] of expired) this.#entries.delete(key);
    return expired.length;
  }
}
