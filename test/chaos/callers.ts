// Callers with good and with revoked tokens in a chaos run, and the operator who revokes.
import { setTimeout as sleep } from 'node:timers/promises';
import { tokenFor } from '../support/sidecar.ts';
import type { Asked, Books, Loss, ReplicaIndex } from './books.ts';
import { forgotten } from './durable.ts';
import type { Answer } from './replica.ts';
import { routes, type World } from './world.ts';

/** A token that is revoked, and on which replicas that has to hold by now. */
export interface Revoked {
  readonly token: string;
  readonly holds: [boolean, boolean];
}

/** Someone who makes traffic until told to stop. */
export interface Party {
  start(): void;
  /** Ends it; resolves when nothing is under way any more. */
  stop(): Promise<void>;
  /** What can only be judged in the end. */
  conclude?(): Promise<void> | void;
  /** What it did, in a sentence; undefined when the table says it. */
  readonly told: string | undefined;
}

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

/** Every second one is the other replica. */
export const at = (index: number): ReplicaIndex => (index % 2 === 0 ? 0 : 1);

/** Callers of every route through both replicas, and the operator. */
export class Callers implements Party {
  readonly told = undefined;
  readonly #world: World;
  readonly #books: Books;
  readonly #random: () => number;
  readonly #good: string[];
  readonly #revoked: Revoked[] = [];
  /** Those that the operator revoked one by one: PostgreSQL keeps each by its `jti`. */
  readonly #confirmed: string[] = [];
  #running = true;
  #work: Promise<unknown> = Promise.resolve();
  readonly #revoking = new Set<Promise<unknown>>();

  constructor(world: World, books: Books, random: () => number) {
    this.#world = world;
    this.#books = books;
    this.#random = random;
    this.#good = Array.from({ length: GOOD_SUBJECTS }, () => this.mint());
  }

  /** Tokens that have been revoked. */
  get revokedCount(): number {
    return this.#revoked.length;
  }

  /** A good token, for probes. */
  get good(): string {
    return this.#good[0] as string;
  }

  /** A good token of a subject of its own. */
  mint(lifetimeS = LIFETIME_S): string {
    const number = this.#books.number();
    const exp = Math.floor(Date.now() / 1000) + lifetimeS;
    return tokenFor({ sub: `s${number}`, jti: `j${number}`, exp });
  }

  /** Revokes `count` tokens through both replicas, before anything breaks. */
  async revokeMany(count: number): Promise<void> {
    let left = count;
    const lane = async (index: number) => {
      while (left > 0) {
        left -= 1;
        const token = this.mint(left % 2 === 0 ? LIFETIME_S : SHORT_LIFETIME_S);
        const answer = await this.#ask(at(index), token);
        if (!isApplied(answer)) throw new Error(`revoking: ${answer.status} ${answer.text}`);
        this.#confirmed.push(token);
        this.callRevoked({ token, holds: [true, true] });
      }
    };
    await Promise.all(Array.from({ length: 16 }, (_, index) => lane(index)));
  }

  start(): void {
    this.#work = Promise.all([...Array.from({ length: LANES }, (_, index) => this.#call(index)), this.#operate()]);
  }

  /** A fault begins: the revocations under way are settled first, so that they are judged as on a good day. */
  async settle(): Promise<void> {
    await Promise.all(this.#revoking);
  }

  /** Everything is whole again: every revocation that was acknowledged counts everywhere. */
  recovered(): void {
    for (const { holds } of this.#revoked) holds.fill(true);
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#work;
  }

  /** Compares with what PostgreSQL remembers. */
  async conclude(): Promise<void> {
    const ids = this.#confirmed.map(claimsOf).filter(({ exp }) => exp > Date.now() / 1000 + MARGIN_S);
    const lost = await forgotten(
      this.#world.postgres.url,
      ids.map(({ jti }) => jti),
    );
    for (const id of lost) this.#books.blame(`the revocation of ${id} was confirmed, and PostgreSQL does not have it`);
  }

  /** From now on callers call with this token too, and are refused where that holds. */
  callRevoked(revoked: Revoked): void {
    this.#revoked.push(revoked);
  }

  /** One request, judged. */
  async attempt(asked: Omit<Asked, 'seq' | 'fromMs'>, token: string): Promise<{ answer: Answer; fromMs: number }> {
    const { replica, path, method } = asked;
    const seq = `${this.#books.number()}`;
    const fromMs = performance.now();
    const answer = await this.#world.replicas[replica].ask(path, token, method, seq);
    this.#books.take({ ...asked, seq, fromMs }, answer);
    return { answer, fromMs };
  }

  /**
   * The operator revokes `token` through a replica and asks both with it, where it has to hold at once. Undefined when nothing was
   * promised, or there was nothing to refuse.
   */
  async revoke(replica: ReplicaIndex, token: string): Promise<Revoked | undefined> {
    const revoking = this.#revoke(replica, token);
    this.#revoking.add(revoking);
    try {
      return await revoking;
    } finally {
      this.#revoking.delete(revoking);
    }
  }

  async #revoke(replica: ReplicaIndex, token: string): Promise<Revoked | undefined> {
    const books = this.#books;
    const fromMs = performance.now();
    const answer = await this.#ask(replica, token);
    const lost = (loss: Loss) => books.lost(loss, fromMs);
    // By a clock that is ahead it has expired: the answer says so, and that nothing was revoked.
    if (answer.status === 200 && lost('clock') && answer.text.includes('"harmless":"token_expired"')) return undefined;
    if (answer.status !== 201) {
      const may = answer.status === 0 ? lost(`gone${replica}`) : answer.status === 503;
      const explained = lost('postgres') || lost('disk') || lost(`gone${replica}`);
      if (!may || !explained) books.blame(`revoking: ${answer.status} ${answer.text.slice(0, 200)}`);
      return undefined;
    }
    const all = isApplied(answer);
    const broken = books.isBroken;
    if (!all && !lost('store') && !broken) books.blame('a revocation is pending, and nothing is broken');
    this.#confirmed.push(token);
    // A replica that answers by what it knows, and cannot be told, holds to it from its recovery on.
    const revoked: Revoked = { token, holds: [replica === 0 || (all && !broken), replica === 1 || all] };
    for (const index of [0, 1] as const) {
      if (revoked.holds[index])
        await this.attempt({ replica: index, path: '/allow', method: 'POST', kind: 'revoked' }, token);
    }
    this.callRevoked(revoked);
    return revoked;
  }

  #ask(replica: ReplicaIndex, token: string): Promise<Answer> {
    return this.#world.replicas[replica].admin('POST', '/v1/revocations', { token, reason: 'chaos' });
  }

  /** One caller: every second token is a revoked one. */
  async #call(lane: number): Promise<void> {
    for (let turn = lane; this.#running; turn += 1) {
      const replica = at(turn);
      const path = pick(routes, this.#random) as string;
      const method = this.#random() < 0.5 ? 'GET' : 'POST';
      const revoked = turn % 4 < 2 ? pick(this.#revoked, this.#random) : undefined;
      if (revoked?.holds[replica]) await this.attempt({ replica, path, method, kind: 'revoked' }, revoked.token);
      else await this.attempt({ replica, path, method, kind: 'good' }, pick(this.#good, this.#random) as string);
      await sleep(PAUSE_MS);
    }
  }

  /** The operator: revokes fresh tokens through either replica. */
  async #operate(): Promise<void> {
    for (let turn = 0; this.#running; turn += 1) {
      await this.revoke(at(turn), this.mint(turn % 4 < 2 ? LIFETIME_S : SHORT_LIFETIME_S));
      await sleep(REVOKE_EVERY_MS);
    }
  }
}

/** One of `list`; undefined of an empty one. */
export function pick<T>(list: readonly T[], random: () => number): T | undefined {
  return list[Math.floor(random() * list.length)];
}

/** True when a revocation counts everywhere. */
export const isApplied = ({ status, text }: Answer): boolean => status === 201 && text.includes('"applied":"all"');
