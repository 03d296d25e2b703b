// The books of the soak: every request gets a number, and in the end each number has one answer that belongs to it. The
// upstream reports what it saw, so that lost, doubled and smuggled requests show whichever side they happen on.

/** How often the upstream has to have seen a request once its answer is there. */
export type Reach = 'once' | 'never' | 'at most once';

/** What came of one kind of request. */
export interface Row {
  readonly kind: string;
  begun: number;
  settled: number;
  /** Text of a problem, and how often. */
  readonly problems: Map<string, number>;
}

/** Longest that any request of the soak may take, slow ones included. */
const PATIENCE_MS = 45_000;

/** Numbers requests and keeps account of them. */
export class Ledger {
  readonly rows = new Map<string, Row>();
  readonly #seen = new Map<string, number>();
  #last = 0;
  #open = 0;

  /** Requests without an answer now. */
  get open(): number {
    return this.#open;
  }

  /** Does one request: `work` gets its number and says how often the upstream must have seen it; a throw is a problem. */
  async attempt(kind: string, work: (seq: string) => Promise<Reach>): Promise<void> {
    const seq = String(++this.#last);
    const row = this.#row(kind);
    row.begun += 1;
    this.#open += 1;
    try {
      const reach = await inTime(work(seq));
      const problem = misreach(reach, this.#seen.get(seq) ?? 0);
      if (problem !== undefined) this.problem(kind, problem);
    } catch (error) {
      this.problem(kind, describe(error));
    } finally {
      row.settled += 1;
      this.#open -= 1;
    }
  }

  /** The upstream saw a request. */
  saw(seq: string | undefined): void {
    if (seq === undefined) {
      this.problem('upstream', 'a request without its number');
      return;
    }
    const times = (this.#seen.get(seq) ?? 0) + 1;
    this.#seen.set(seq, times);
    if (times > 1) this.problem('upstream', 'a request twice');
  }

  /** Enters something that must not be. */
  problem(kind: string, text: string): void {
    const { problems } = this.#row(kind);
    problems.set(text, (problems.get(text) ?? 0) + 1);
  }

  #row(kind: string): Row {
    const known = this.rows.get(kind);
    if (known !== undefined) return known;
    const row = { kind, begun: 0, settled: 0, problems: new Map<string, number>() };
    this.rows.set(kind, row);
    return row;
  }
}

function misreach(reach: Reach, seen: number): string | undefined {
  if (reach === 'once' && seen === 0) return 'answered, and the upstream never saw it';
  if (reach === 'never' && seen > 0) return 'refused, and the upstream saw it';
  return undefined;
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error('lost: no answer in time')), PATIENCE_MS);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as NodeJS.ErrnoException;
  const cause = error.cause instanceof Error ? ` (${error.cause.message})` : '';
  return `${code === undefined || error.message.includes(code) ? '' : `${code} `}${error.message}${cause}`;
}
