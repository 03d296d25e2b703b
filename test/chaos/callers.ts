// The traffic of a chaos run, and the judge of every answer: what may be answered follows from the request, the replica and
// the faults that overlapped it, and from nothing else.
import { setTimeout as sleep } from 'node:timers/promises';
import { tokenFor } from '../support/sidecar.ts';
import { forgotten } from './durable.ts';
import type { Answer, Replica } from './replica.ts';
import { routes, type World } from './world.ts';

/**
 * What a fault takes away. `gone0` and `gone1` are the replicas; `disk` is where they spool audit events; `clock` their time; `order`
 * that the application's answers come once each, in the order of its requests.
 */
export type Loss = 'store' | 'upstream' | 'order' | 'postgres' | 'disk' | 'clock' | 'gone0' | 'gone1';

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

interface Window {
  readonly losses: ReadonlySet<Loss>;
  readonly fromMs: number;
  toMs: number;
}

/** A token that is revoked, and on which replicas that has to hold by now. */
interface Revoked {
  readonly token: string;
  readonly holds: [boolean, boolean];
}

/** How often the application may have seen a request. */
type Reach = readonly [least: number, most: number];

const LANES = 8;
const PAUSE_MS = 20;
const REVOKE_EVERY_MS = 150;
const GOOD_SUBJECTS = 100;
const LIFETIME_S = 6 * 3600;
/** Of some tokens that are revoked: a clock that is an hour ahead takes them for expired. */
const SHORT_LIFETIME_S = 1800;

/** What has expired is forgotten by right. */
const MARGIN_S = 60;

const claimsOf = (token: string) =>
  JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString()) as { jti: string; exp: number };

const at = (index: number): 0 | 1 => (index % 2 === 0 ? 0 : 1);

/** Callers with good and with revoked tokens, an operator who revokes, and the books. */
export class Callers implements AsyncDisposable {
  readonly violations: string[] = [];
  readonly rows: Row[] = [];
  #row: Row;
  readonly #world: World;
  readonly #random: () => number;
  readonly #windows: Window[] = [];
  readonly #good: string[];
  readonly #revoked: Revoked[] = [];
  readonly #reach = new Map<string, Reach>();
  #running = true;
  #work: Promise<unknown> = Promise.resolve();
  #number = 0;
  #turn: Promise<void> = Promise.resolve();

  constructor(world: World, random: () => number) {
    this.#world = world;
    this.#random = random;
    this.#good = Array.from({ length: GOOD_SUBJECTS }, () => this.#mint());
    this.#row = this.begin('calm');
  }

  /** Tokens that have been revoked. */
  get revokedCount(): number {
    return this.#revoked.length;
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

  /** Revokes `count` tokens through both replicas, before anything breaks. */
  async revokeMany(count: number): Promise<void> {
    let left = count;
    const lane = async (index: number) => {
      while (left > 0) {
        left -= 1;
        const token = this.#mint(left % 2 === 0 ? LIFETIME_S : SHORT_LIFETIME_S);
        const answer = await this.#replica(at(index)).admin('POST', '/v1/revocations', { token, reason: 'chaos' });
        if (!isApplied(answer)) throw new Error(`revoking: ${answer.status} ${answer.text}`);
        this.#revoked.push({ token, holds: [true, true] });
      }
    };
    await Promise.all(Array.from({ length: 16 }, (_, index) => lane(index)));
  }

  /** Starts the load. */
  start(): void {
    this.#work = Promise.all([...Array.from({ length: LANES }, (_, index) => this.#call(index)), this.#operate()]);
  }

  /** A fault begins: what is under way at the operator's is settled first, so that it is judged as on a good day. */
  async lose(losses: readonly Loss[]): Promise<void> {
    this.#windows.push({ losses: new Set(losses), fromMs: performance.now(), toMs: Number.POSITIVE_INFINITY });
    await this.#turn;
  }

  /** Everything is whole again: every revocation that was acknowledged counts everywhere. */
  recovered(): void {
    const open = this.#windows.at(-1) as Window;
    open.toMs = performance.now();
    for (const { holds } of this.#revoked) holds.fill(true);
  }

  /** Ends the load, and compares with what the application saw and with what PostgreSQL remembers. */
  async finish(): Promise<void> {
    this.#running = false;
    await this.#work;
    const seen = this.#world.application.seen();
    for (const [seq, [least, most]] of this.#reach) {
      const times = seen.get(seq) ?? 0;
      if (times < least || times > most) this.#blame(`request ${seq} reached the application ${times} times`);
    }
    for (const seq of seen.keys())
      if (!this.#reach.has(seq) && seq !== '-') this.#blame(`request ${seq}: nobody sent it`);
    const ids = this.#revoked
      .map(({ token }) => claimsOf(token))
      .filter(({ exp }) => exp > Date.now() / 1000 + MARGIN_S);
    const lost = await forgotten(
      this.#world.postgres.url,
      ids.map(({ jti }) => jti),
    );
    for (const id of lost) this.#blame(`the revocation of ${id} was confirmed, and PostgreSQL does not have it`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#running = false;
    await this.#work.catch(() => undefined);
  }

  /** A good token, for probes. */
  get good(): string {
    return this.#good[0] as string;
  }

  #mint(lifetimeS = LIFETIME_S): string {
    this.#number += 1;
    const exp = Math.floor(Date.now() / 1000) + lifetimeS;
    return tokenFor({ sub: `s${this.#number}`, jti: `j${this.#number}`, exp });
  }

  #replica(index: 0 | 1): Replica {
    return this.#world.replicas[index];
  }

  #blame(text: string): void {
    this.violations.push(`${this.#row.event}: ${text}`);
  }

  #lost(loss: Loss, fromMs: number): boolean {
    return this.#windows.some(({ losses, toMs }) => losses.has(loss) && toMs >= fromMs);
  }

  /** One caller: every second token is a revoked one. */
  async #call(lane: number): Promise<void> {
    for (let turn = lane; this.#running; turn += 1) {
      const replica = at(turn);
      const path = routes[Math.floor(this.#random() * routes.length)] as string;
      const method = this.#random() < 0.5 ? 'GET' : 'POST';
      const revoked = turn % 4 < 2 ? this.#pick(this.#revoked) : undefined;
      if (revoked?.holds[replica]) await this.#attempt(replica, path, method, revoked.token, 'revoked');
      else await this.#attempt(replica, path, method, this.#pick(this.#good) as string, 'good');
      await sleep(PAUSE_MS);
    }
  }

  #pick<T>(list: readonly T[]): T | undefined {
    return list[Math.floor(this.#random() * list.length)];
  }

  async #attempt(replica: 0 | 1, path: string, method: 'GET' | 'POST', token: string, kind: 'good' | 'revoked') {
    const row = this.#row;
    this.#number += 1;
    const seq = `${this.#number}`;
    const fromMs = performance.now();
    const answer = await this.#replica(replica).ask(path, token, method, seq);
    row.requests += 1;
    row.worstMs = Math.max(row.worstMs, performance.now() - fromMs);
    if (answer.status === 200) row.allowed += 1;
    else row.refused.set(answer.code, (row.refused.get(answer.code) ?? 0) + 1);
    // An answer of HTTP/1.1 names no request: the copy of one, where it comes after the next request has gone out, is the next one's.
    const misled = this.#lost('order', fromMs);
    if (answer.status === 200 && answer.text !== seq && !misled)
      this.#blame(`request ${seq} got the answer of ${answer.text}`);
    const asked = { replica, path, kind, fromMs };
    this.#reach.set(seq, this.#reachOf(seq, answer, method, kind, fromMs));
    if (this.#isExplained(answer, asked)) return;
    if (kind === 'revoked' && answer.status === 200) row.wrongAllows += 1;
    else row.wrong5xx += 1;
    const { name } = this.#replica(replica);
    this.#blame(`${kind} token at ${name}${path}: ${answer.status} ${answer.code} ${answer.text.slice(0, 200)}`);
  }

  #isExplained(
    { status, code }: Answer,
    asked: { replica: 0 | 1; path: string; kind: string; fromMs: number },
  ): boolean {
    const { replica, path, kind, fromMs } = asked;
    const lost = (loss: Loss) => this.#lost(loss, fromMs);
    if (status === 0 && lost(`gone${replica}`)) return true;
    if (status === 503 && code === 'temporarily_unavailable') {
      // Which replica and route answer so is configured; a replica that just started may not know the log yet.
      return lost(`gone${replica}`) || (lost('store') && (replica === 1 || path === '/deny'));
    }
    if (kind === 'revoked') return status === 401;
    if (status === 200) return true;
    // By a clock that is behind no token is valid yet.
    if (lost('clock') && status === 401) return true;
    if (!lost('upstream')) return false;
    return code.startsWith('upstream_') || code === 'cut_200';
  }

  #reachOf(seq: string, { status, code, text }: Answer, method: string, kind: string, fromMs: number): Reach {
    if (kind === 'revoked') return [0, 0];
    // A GET goes out once more when a connection that had been used ended before any answer.
    const most = method === 'GET' && this.#lost('upstream', fromMs) ? 2 : 1;
    if (status === 200) return [text === seq ? 1 : 0, most];
    return status === 0 || code.startsWith('upstream_') ? [0, most] : [0, 0];
  }

  /** The operator: revokes fresh tokens through either replica, and asks both at once when nothing is broken. */
  async #operate(): Promise<void> {
    for (let turn = 0; this.#running; turn += 1) {
      this.#turn = this.#revokeOne(at(turn), turn % 4 < 2 ? LIFETIME_S : SHORT_LIFETIME_S);
      await this.#turn;
      await sleep(REVOKE_EVERY_MS);
    }
  }

  async #revokeOne(replica: 0 | 1, lifetimeS: number): Promise<void> {
    const token = this.#mint(lifetimeS);
    const fromMs = performance.now();
    const answer = await this.#replica(replica).admin('POST', '/v1/revocations', { token, reason: 'chaos' });
    const lost = (loss: Loss) => this.#lost(loss, fromMs);
    // By a clock that is ahead it has expired: the answer says so, and that nothing was revoked.
    if (answer.status === 200 && lost('clock') && answer.text.includes('"harmless":"token_expired"')) return;
    if (answer.status !== 201) {
      const may = answer.status === 0 ? lost(`gone${replica}`) : answer.status === 503;
      const explained = lost('postgres') || lost('disk') || lost(`gone${replica}`);
      if (!may || !explained) this.#blame(`revoking: ${answer.status} ${answer.text.slice(0, 200)}`);
      return;
    }
    const all = isApplied(answer);
    const broken = this.#windows.at(-1)?.toMs === Number.POSITIVE_INFINITY;
    if (!all && !lost('store') && !broken) this.#blame('a revocation is pending, and nothing is broken');
    // A replica that answers by what it knows, and cannot be told, holds to it from its recovery on.
    const holds: [boolean, boolean] = [replica === 0 || (all && !broken), replica === 1 || all];
    for (const index of [0, 1] as const) {
      if (holds[index]) await this.#attempt(index, '/allow', 'POST', token, 'revoked');
    }
    this.#revoked.push({ token, holds });
  }
}

/** True when a revocation counts everywhere. */
export const isApplied = ({ status, text }: Answer): boolean => status === 201 && text.includes('"applied":"all"');
