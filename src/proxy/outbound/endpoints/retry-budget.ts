// How many requests may be sent a second time: a share of all requests, so that an outage is not doubled by those who try
// again, and a small reserve, so that a quiet upstream can have any at all.

const RESERVE = 10;
/** Savings are bounded: a quiet hour must not pay for a storm. In requests that may go out again at once. */
const MOST = 100;

/** Pays for second tries. */
export class RetryBudget {
  readonly #share: number;
  #saved = RESERVE;

  /** `share`: 0.2 allows one retry for five requests. */
  constructor(share: number) {
    this.#share = share;
  }

  /** A request goes out for the first time. */
  earn(): void {
    if (this.#saved < MOST) this.#saved += this.#share;
  }

  /** True when one more may go out again. */
  spend(): boolean {
    if (this.#saved < 1) return false;
    this.#saved -= 1;
    return true;
  }
}
