// The judge of a chaos run: what may be answered follows from the request, the replica and the faults that overlapped it, and from
// nothing else. Everybody who makes traffic brings the answers here.
import type { Answer } from './replica.ts';

/**
 * What a fault takes away. `gone0` and `gone1` are the replicas; `disk` is where they spool audit events; `clock` their time; `order`
 * that the application's answers come once each, in the order of its requests.
 */
export type Loss = 'store' | 'upstream' | 'order' | 'postgres' | 'disk' | 'clock' | 'gone0' | 'gone1';

/** Place of a replica in the world. */
export type ReplicaIndex = 0 | 1;

/** The figures of one event, however often it came, its recoveries and the calm after it included. */
export interface Row {
  readonly event: string;
  times: number;
  requests: number;
  allowed: number;
  /** Refusals and failures by code. */
  readonly refused: Map<string, number>;
  wrongAllows: number;
  /** Answers 5xx that nothing configured explains, hangs included. */
  wrong5xx: number;
  worstMs: number;
  /** The longest; NaN where nothing had to recover. */
  recoveryMs: number;
}

/**
 * A request through the proxy port. `kind` is what its token is: good, revoked there, or good and over its limit now and then. A
 * `stream` has a good one.
 */
export interface Asked {
  readonly seq: string;
  readonly replica: ReplicaIndex;
  readonly path: string;
  readonly method: 'GET' | 'POST';
  readonly kind: 'good' | 'revoked' | 'limited' | 'stream';
  readonly fromMs: number;
}

interface Window {
  readonly losses: ReadonlySet<Loss>;
  readonly fromMs: number;
  toMs: number;
}

/** How often the application may have seen a request. */
type Reach = readonly [least: number, most: number];

/** What was asked, what came of it, and what must not have. */
export class Books {
  readonly violations: string[] = [];
  readonly rows: Row[] = [];
  #row: Row;
  readonly #windows: Window[] = [];
  readonly #reach = new Map<string, Reach>();
  #number = 0;

  constructor() {
    this.#row = this.begin('calm');
  }

  /** Figures belong to `event` from now on. */
  begin(event: string): Row {
    const known = this.rows.find((row) => row.event === event);
    const row = known ?? {
      ...{ event, times: 0, requests: 0, allowed: 0, refused: new Map(), wrongAllows: 0, wrong5xx: 0, worstMs: 0 },
      recoveryMs: Number.NaN,
    };
    if (known === undefined) this.rows.push(row);
    row.times += 1;
    this.#row = row;
    return row;
  }

  /** A fault begins that takes `losses` away. */
  lose(losses: readonly Loss[]): void {
    this.#windows.push({ losses: new Set(losses), fromMs: performance.now(), toMs: Number.POSITIVE_INFINITY });
  }

  /** It is over, and everything whole again. */
  recovered(): void {
    (this.#windows.at(-1) as Window).toMs = performance.now();
  }

  /** True from the beginning of a fault until everything is whole again. */
  get isBroken(): boolean {
    return this.#windows.at(-1)?.toMs === Number.POSITIVE_INFINITY;
  }

  /** When `loss` was over last, in ms of performance.now(): Infinity while it is not, -Infinity when it never was. */
  endOf(loss: Loss): number {
    return this.#windows.findLast(({ losses }) => losses.has(loss))?.toMs ?? Number.NEGATIVE_INFINITY;
  }

  /** True when `loss` was there at any time since `fromMs`. */
  lost(loss: Loss, fromMs: number): boolean {
    return this.endOf(loss) >= fromMs;
  }

  blame(text: string): void {
    this.violations.push(`${this.#row.event}: ${text}`);
  }

  /** A number that nobody has had. */
  number(): number {
    this.#number += 1;
    return this.#number;
  }

  /** Takes the answer to a request, and judges it. */
  take(asked: Asked, answer: Answer): void {
    const { seq, kind, fromMs, replica, path } = asked;
    const row = this.#row;
    row.requests += 1;
    row.worstMs = Math.max(row.worstMs, performance.now() - fromMs);
    if (answer.status === 200) row.allowed += 1;
    else row.refused.set(answer.code, (row.refused.get(answer.code) ?? 0) + 1);
    // An answer of HTTP/1.1 names no request: the copy of one, where it comes after the next request has gone out, is the next one's.
    const misled = this.lost('order', fromMs);
    if (answer.status === 200 && answer.text !== seq && !misled)
      this.blame(`request ${seq} got the answer of ${answer.text}`);
    this.#reach.set(seq, this.#reachOf(asked, answer));
    if (this.#isExplained(asked, answer)) return;
    if (kind === 'revoked' && answer.status === 200) row.wrongAllows += 1;
    else row.wrong5xx += 1;
    this.blame(`${kind} token at ${replica}${path}: ${answer.status} ${answer.code} ${answer.text.slice(0, 200)}`);
  }

  /** Compares with what the application saw: how often each number. */
  compare(seen: ReadonlyMap<string, number>): void {
    for (const [seq, [least, most]] of this.#reach) {
      const times = seen.get(seq) ?? 0;
      if (times < least || times > most) this.blame(`request ${seq} reached the application ${times} times`);
    }
    for (const seq of seen.keys())
      if (!this.#reach.has(seq) && seq !== '-') this.blame(`request ${seq}: nobody sent it`);
  }

  #isExplained({ replica, path, kind, fromMs }: Asked, { status, code }: Answer): boolean {
    const lost = (loss: Loss) => this.lost(loss, fromMs);
    if (status === 0 && lost(`gone${replica}`)) return true;
    if (status === 503 && code === 'temporarily_unavailable') {
      // Which replica and route answer so is configured; a replica that just started may not know the log yet.
      return lost(`gone${replica}`) || (lost('store') && (replica === 1 || path.startsWith('/deny')));
    }
    if (kind === 'revoked') return status === 401;
    if (status === 200) return true;
    if (kind === 'limited' && status === 429) return true;
    // By a clock that is behind no token is valid yet.
    if (lost('clock') && status === 401) return true;
    if (!lost('upstream')) return false;
    // What breaks in the same breath in which it was let in is reset before its head was out.
    if (kind === 'stream' && status === 0) return true;
    return code.startsWith('upstream_') || code === 'cut_200';
  }

  #reachOf({ seq, kind, method, fromMs }: Asked, { status, code, text }: Answer): Reach {
    if (kind === 'revoked') return [0, 0];
    // A GET goes out once more when a connection that had been used ended before any answer.
    const most = method === 'GET' && this.lost('upstream', fromMs) ? 2 : 1;
    if (status === 200) return [text === seq ? 1 : 0, most];
    return status === 0 || code.startsWith('upstream_') ? [0, most] : [0, 0];
  }
}
