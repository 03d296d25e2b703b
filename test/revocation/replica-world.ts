// Several replicas over one shared log and one durable store, in which every call to a store stops twice: before it is carried out
// and before its answer arrives. A test lets them go in any order. Nothing here waits for real time.
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../../src/core/clock.ts';
import { isStoreUnavailable, storeUnavailable } from '../../src/core/errors.ts';
import { DurableRevoker, rememberedRevocations } from '../../src/revocation/durable.ts';
import { RevocationFollower } from '../../src/revocation/follower.ts';
import { RevocationIndex } from '../../src/revocation/index.ts';
import type { DurableRevocations } from '../../src/stores/contracts/durable-revocations.ts';
import type {
  RevocationDraft,
  RevocationEntry,
  RevocationGuard,
  RevocationHead,
  RevocationLog,
  RevocationSnapshot,
} from '../../src/stores/contracts/revocations.ts';
import { MemoryRevocations } from '../../src/stores/memory/revocations.ts';
import { MemoryDurable } from './durable-memory.ts';

/** Noon of some day. */
export const START_MS = Date.UTC(2030, 0, 1, 12);
/** Longer than any call is young, or any contact fresh. */
const LONG_MS = 4000;
const ROUNDS = 12;

/** A call that stopped: `name` as in `log.append`; `isAsked` before it is carried out. */
export interface Gate {
  readonly of: Replica;
  readonly name: string;
  readonly isAsked: boolean;
  readonly open: () => void;
}

/** Thrown at a call that was not carried out. */
const nothingHappened = new WeakSet<object>();

/** Whether the call that rejected with `error` changed nothing. */
export const changedNothing = (error: unknown) =>
  typeof error === 'object' && error !== null && nothingHappened.has(error);

/** Replicas, their stores, and the calls that are under way. */
export class World {
  readonly log: MemoryRevocations;
  readonly durable: MemoryDurable | undefined;
  readonly replicas: Replica[] = [];
  gates: Gate[] = [];
  passedMs = 0;

  /** `aheadMs`: how far the clock of the log is ahead of that of the durable store's callers. */
  constructor({ isDurable = true, aheadMs = 0 }: { readonly isDurable?: boolean; readonly aheadMs?: number } = {}) {
    this.log = new MemoryRevocations({ nowMs: () => START_MS + aheadMs + this.passedMs });
    this.durable = isDurable ? new MemoryDurable() : undefined;
  }

  /** Adds a replica and has it read the log. */
  async start(aheadMs = 0): Promise<Replica> {
    const replica = new Replica(this, aheadMs);
    this.replicas.push(replica);
    replica.start();
    await this.drain(({ of }) => of === replica);
    return replica;
  }

  /** Replicas that were not killed. */
  get living(): readonly Replica[] {
    return this.replicas.filter(({ isDead }) => !isDead);
  }

  /** Lets go on the call at place `pick` (modulo). */
  async step(pick: number): Promise<void> {
    const [gate] = this.gates.splice(pick % Math.max(1, this.gates.length), 1);
    this.passedMs += 1;
    gate?.open();
    await nextTurn();
  }

  /** Lets go on whatever is `wanted`, first come first served, until nothing of it is left. */
  async drain(wanted: (gate: Gate) => boolean = () => true): Promise<void> {
    for (let steps = 0; ; steps += 1) {
      await nextTurn();
      const at = this.gates.findIndex(wanted);
      if (at < 0) return;
      if (steps > 5000) throw new Error('the replicas never come to rest');
      await this.step(at);
    }
  }

  /** Everything is there again, and every replica does what it does every few seconds until nothing changes. */
  async settle(): Promise<void> {
    for (const replica of this.living) {
      replica.setLog(true);
      replica.setDurable(true);
    }
    await this.drain();
    let before = '';
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const replica of this.living) {
        for (const name of ['retry', 'sweep', 'send', 'adopt'] as const) {
          replica.turn(name);
          await this.drain();
        }
        void replica.follower.observe(this.log.current());
        await this.drain();
      }
      this.passedMs += LONG_MS;
      const now = JSON.stringify([this.log.current(), [...(this.durable?.rows ?? [])]]);
      if (now === before) return;
      before = now;
    }
    throw new Error(`the replicas never come to rest: ${before}`);
  }

  /** Stops a call of `replica`; resolves when a test lets it go on. */
  gate(of: Replica, name: string, isAsked: boolean): Promise<void> {
    return new Promise((resolve) => this.gates.push({ of, name, isAsked, open: resolve }));
  }
}

/** One replica: the real thing over stores that stop. */
export class Replica {
  readonly follower: RevocationFollower;
  readonly index = new RevocationIndex();
  revoker: DurableRevoker | undefined;
  isDead = false;
  readonly #world: World;
  #retry: (() => unknown) | undefined;
  #sweep: (() => unknown) | undefined;
  #hasLog = true;
  #hasDurable = true;
  #seen: RevocationHead | undefined;

  constructor(world: World, aheadMs: number) {
    this.#world = world;
    const clock: Clock = { nowMs: () => START_MS + aheadMs + world.passedMs, monotonicMs: () => world.passedMs };
    const log = this.#stoppingLog(world.log);
    const store = world.durable && this.#stoppingStore(world.durable);
    const remembered = store && (() => rememberedRevocations(store, () => clock.nowMs()));
    const settings = { onStoreDown: 'known', knownForMs: 60_000, waitMs: 2 ** 31 - 1 } as const;
    this.follower = new RevocationFollower({
      ...{ log, index: this.index, clock, ...settings },
      ...(remembered && { remembered }),
    });
    intervalsOf(() => {
      this.revoker = store && new DurableRevoker({ store, log, follower: this.follower, clock });
    });
  }

  /** Reads the log, and goes on when it may. */
  start(): void {
    [this.#retry, this.#sweep] = intervalsOf(() => void this.follower.start());
  }

  /** What it does by itself every second or two. */
  turn(name: 'retry' | 'sweep' | 'send' | 'adopt'): void {
    if (name === 'retry') void this.#retry?.();
    else if (name === 'sweep') void this.#sweep?.();
    else if (name === 'send') void this.revoker?.send(3000);
    else void this.revoker?.adopt();
  }

  /** As the control plane revokes. */
  revoke(draft: RevocationDraft, guard?: RevocationGuard) {
    return this.revoker === undefined ? this.follower.revoke(draft) : this.revoker.revoke(draft, guard);
  }

  /** As the control plane takes back. */
  undo(entryId: string) {
    return this.revoker === undefined ? this.follower.undo(entryId) : this.revoker.undo(entryId);
  }

  setLog(isThere: boolean): void {
    this.#hasLog = isThere;
  }

  /** As app/revoking.ts, which asks a durable store that comes back. */
  setDurable(isThere: boolean): void {
    if (isThere && !this.#hasDurable && this.revoker) this.follower.complete();
    this.#hasDurable = isThere;
  }

  get hasLog(): boolean {
    return this.#hasLog;
  }

  get hasDurable(): boolean {
    return this.#hasDurable;
  }

  async #ask<T>(isThere: () => boolean, name: string, call: () => Promise<T>): Promise<T> {
    await this.#world.gate(this, name, true);
    if (!isThere()) throw markedNothing(storeUnavailable('away'));
    const [answer] = await Promise.allSettled([call()]);
    await this.#world.gate(this, name, false);
    if (this.isDead) return new Promise(() => undefined);
    if (!isThere()) throw storeUnavailable('the answer was lost');
    if (answer.status === 'fulfilled') return answer.value;
    throw isStoreUnavailable(answer.reason) ? markedNothing(answer.reason) : answer.reason;
  }

  /** Refuses appends to a log behind what was seen of it, as lua/append.lua does. */
  #stoppingLog(shared: MemoryRevocations): RevocationLog {
    const ask = <T>(name: string, call: () => Promise<T>) => this.#ask(() => this.#hasLog, `log.${name}`, call);
    const sees = (head: RevocationHead) => {
      if (this.#seen?.epoch !== head.epoch || this.#seen.seq < head.seq) this.#seen = head;
    };
    return {
      append: async (draft) => {
        const { head, entry } = await ask('append', async () => {
          const before = shared.current();
          if (before?.epoch === this.#seen?.epoch && (before?.seq ?? 0) < (this.#seen?.seq ?? 0))
            throw storeUnavailable('the log lost its end');
          const appended = await shared.append(draft);
          return { head: shared.current() as RevocationHead, entry: appended };
        });
        sees(head);
        return entry;
      },
      undo: (...given: Parameters<RevocationLog['undo']>) => ask('undo', () => shared.undo(...given)),
      get: (entryId) => ask('get', () => shared.get(entryId)),
      head: () => ask('head', () => shared.head()),
      since: async (head) => {
        const events = await ask('since', () => shared.since(head));
        if (events !== undefined) sees({ epoch: head.epoch, seq: head.seq + events.length });
        return events;
      },
      snapshot: () =>
        ask('snapshot', async () => {
          const snapshot = await shared.snapshot();
          if (snapshot === undefined) return undefined;
          const all: (readonly RevocationEntry[])[] = [];
          for await (const batch of snapshot.batches) all.push(batch);
          return { from: snapshot.from, batches: oneByOne(all) } satisfies RevocationSnapshot;
        }),
      rebuild: async (entries, last, onto) => {
        const all: (readonly RevocationEntry[])[] = [];
        for await (const batch of entries) all.push(batch);
        const rebuilt = await ask('rebuild', () => shared.rebuild(all, last, onto));
        sees(rebuilt.head);
        return rebuilt;
      },
      timeMs: () => ask('timeMs', () => shared.timeMs()),
      watch: async () => ({ [Symbol.asyncDispose]: async () => undefined }),
    };
  }

  #stoppingStore(shared: MemoryDurable): DurableRevocations {
    const ask = <T>(name: string, call: () => Promise<T>) => this.#ask(() => this.#hasDurable, `durable.${name}`, call);
    return {
      put: (...given) => ask('put', () => shared.put(...given)),
      undo: (...given) => ask('undo', () => shared.undo(...given)),
      settle: (...given) => ask('settle', () => shared.settle(...given)),
      unsent: (...given) => ask('unsent', () => shared.unsent(...given)),
      page: (...given) => ask('page', () => shared.page(...given)),
      adopt: (...given) => ask('adopt', () => shared.adopt(...given)),
      adoptUndo: (...given) => ask('adoptUndo', () => shared.adoptUndo(...given)),
      expire: (...given) => ask('expire', () => shared.expire(...given)),
    };
  }
}

async function* oneByOne<T>(all: readonly T[]): AsyncGenerator<T> {
  yield* all;
}

function markedNothing<T extends object>(error: T): T {
  nothingHappened.add(error);
  return error;
}

/** What `run` would have done again and again. */
function intervalsOf(run: () => void): (() => unknown)[] {
  const tasks: (() => unknown)[] = [];
  const given = globalThis.setInterval;
  const timer = { unref: () => timer };
  globalThis.setInterval = ((task: () => unknown) => {
    tasks.push(task);
    return timer;
  }) as unknown as typeof setInterval;
  try {
    run();
  } finally {
    globalThis.setInterval = given;
  }
  return tasks;
}
