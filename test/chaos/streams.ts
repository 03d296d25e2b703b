// Callers of a chaos run who keep streams open. A stream has a token of its own: some are revoked while it is open, which has to
// end it; what is not revoked may only end by a fault.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Asked, Books, Loss, ReplicaIndex } from './books.ts';
import { at, type Callers, type Party, pick, type Revoked } from './callers.ts';
import { HANG_MS } from './replica.ts';
import { type Ending, kinds, type OpenStream, openStream, type StreamKind } from './stream.ts';
import { routes, type World } from './world.ts';

const LANES = 12;
const LONGEST_MS = 15_000;
const LOOK_MS = 25;

/** One second is promised, on a machine that has time for it. */
const END_MS = 10_000;

/** A fault may show a little after it was mended. */
const AFTER_MS = 2000;

/** Close frames of the sidecar (docs/streams.md). */
const REVOKED = 1008;
const TRY_LATER = 1013;

/** One that is open, and by whom. */
interface Held {
  readonly stream: OpenStream;
  readonly asked: Asked;
  readonly kind: StreamKind;
  /** Revoking has begun: it may end at any time. */
  isRevoking: boolean;
}

/** Open streams through both replicas. */
export class Streams implements Party {
  readonly #world: World;
  readonly #books: Books;
  readonly #callers: Callers;
  readonly #random: () => number;
  #running = true;
  #work: Promise<unknown> = Promise.resolve();
  #opened = 0;
  #byCaller = 0;
  #byRevocation = 0;
  #byFault = 0;
  /** From the acknowledgement to the end, where nothing was broken. */
  #slowestMs = 0;

  constructor(world: World, books: Books, callers: Callers, random: () => number) {
    this.#world = world;
    this.#books = books;
    this.#callers = callers;
    this.#random = random;
  }

  get told(): string {
    const ends = `${this.#byCaller} left by their callers, ${this.#byRevocation} ended by revocation, ${this.#byFault} by faults`;
    return `streams: ${this.#opened} opened; ${ends}; while nothing was broken at most ${Math.round(this.#slowestMs)} ms after revoking`;
  }

  start(): void {
    this.#work = Promise.all(Array.from({ length: LANES }, (_, index) => this.#lane(index)));
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#work;
  }

  async #lane(lane: number): Promise<void> {
    for (let turn = lane; this.#running; turn += 1) {
      await this.#hold(at(turn), pick(kinds, this.#random) as StreamKind);
      await sleep(LOOK_MS);
    }
  }

  async #hold(replica: ReplicaIndex, kind: StreamKind): Promise<void> {
    const token = this.#callers.mint();
    const asked: Asked = {
      seq: `${this.#books.number()}`,
      ...{ replica, path: pick(routes, this.#random) as string, method: 'GET', kind: 'stream' },
      fromMs: performance.now(),
    };
    const { port } = this.#world.replicas[replica];
    const { answer, stream } = await openStream({ port, path: asked.path, token, kind, seq: asked.seq });
    this.#books.take(asked, answer);
    if (stream === undefined) return;
    this.#opened += 1;
    const held: Held = { stream, asked, kind, isRevoking: false };
    await this.#listen(held, performance.now() + this.#random() * LONGEST_MS);
    if (stream.ended === undefined && this.#random() < 0.5) await this.#revoke(held, token);
    if (stream.ended !== undefined) this.#judge(held, stream.ended.how);
    else this.#byCaller += 1;
    stream.close();
    if (stream.strange !== undefined && !this.#books.lost('order', asked.fromMs))
      this.#books.blame(`${kind} ${asked.seq} heard ${stream.strange}`);
  }

  /** Until `untilMs`, or until it ends. */
  async #listen({ stream, asked, kind }: Held, untilMs: number): Promise<void> {
    while (stream.ended === undefined && performance.now() < untilMs && this.#running) {
      await sleep(LOOK_MS);
      if (stream.ended !== undefined || performance.now() - stream.heardMs < HANG_MS) continue;
      if (this.#books.lost('upstream', stream.heardMs)) continue;
      this.#books.blame(`${kind} ${asked.seq} is silent, and nothing is broken`);
      return;
    }
  }

  async #revoke(held: Held, token: string): Promise<void> {
    const { stream, asked, kind } = held;
    held.isRevoking = true;
    const by = at(Math.floor(this.#random() * 2));
    const revoked = await this.#callers.revoke(by, token);
    if (revoked === undefined) return;
    const acknowledgedMs = performance.now();
    while (stream.ended === undefined) {
      await sleep(LOOK_MS);
      const overdueMs = performance.now() - this.#dueMs(revoked, asked.replica, by, acknowledgedMs);
      if (overdueMs < END_MS) continue;
      this.#books.blame(`${kind} ${asked.seq} at ${asked.replica} is still open ${overdueMs} ms after it was revoked`);
      return;
    }
    const isCalm = revoked.holds[asked.replica] && !this.#books.isBroken;
    if (isCalm) this.#slowestMs = Math.max(this.#slowestMs, (stream.ended?.atMs ?? 0) - acknowledgedMs);
  }

  /** When its replica knows: at once where it was told, elsewhere once the news can come. Infinity: not yet. */
  #dueMs({ holds }: Revoked, replica: ReplicaIndex, by: ReplicaIndex, acknowledgedMs: number): number {
    if (replica === by) return acknowledgedMs;
    return holds[replica] ? Math.max(acknowledgedMs, this.#books.endOf('store')) : Number.POSITIVE_INFINITY;
  }

  #judge({ stream, asked, kind, isRevoking }: Held, how: Ending): void {
    const sinceMs = (stream.ended?.atMs ?? 0) - AFTER_MS;
    const lost = (loss: Loss) => this.#books.lost(loss, sinceMs);
    const { replica } = asked;
    const isFault =
      (how === 'cut' && (lost(`gone${replica}`) || lost('upstream'))) ||
      // Of frames whose bytes were swapped any two may stand where a code is read.
      (typeof how === 'number' && lost('order')) ||
      // The one that answers by what it knows keeps its streams.
      ((how === TRY_LATER || (how === 'cut' && kind === 'events')) && replica === 1 && lost('store'));
    const isRevoked = isRevoking && (kind === 'events' ? how === 'cut' : how === REVOKED);
    if (isRevoked) this.#byRevocation += 1;
    else if (isFault) this.#byFault += 1;
    else this.#books.blame(`${kind} ${asked.seq} at ${replica}${asked.path} ended: ${how}`);
  }
}
