// The nodes of a Cluster: one connection to each master, opened ahead of need. A command goes to the node of its slot and is
// sent once more only after MOVED, ASK or TRYAGAIN, where nothing ran; ioredis' own Cluster also resends after lost connections,
// queues, tries random nodes, and does not tell which connection answered, without which WAIT means nothing.
import { setTimeout as sleep } from 'node:timers/promises';
import { storeUnavailable } from '../../core/errors.ts';
import { type Purpose, timeoutOf } from './connection.ts';
import { RedisRefusal, storeError } from './errors.ts';
import type { Arguments, Link } from './link.ts';
import type { Script } from './scripts.ts';
import { ServerLink } from './server-link.ts';
import type { ClusterSettings, NodeAddress, RedisSettings } from './settings.ts';
import { SLOTS, slotOf } from './slot.ts';
import { addressKey, parseRedirect, parseSlots, type Redirect, type SlotRange } from './topology.ts';

const MOST_HOPS = 16;
/** A slot between two nodes has a key here or there: trying again soon is all there is to do. */
const TRY_AGAIN_MS = 5;
const REFRESH_EVERY_MS = 15_000;
/** How often the map is read while a master is missing or commands are being redirected. */
const TROUBLED_REFRESH_MS = 250;
/** How long after a redirection a slot counts as being moved. */
const MOVING_MS = 2000;
/** A node without slots keeps its connection this long: answers may be under way, and slots on their way to it. */
const KEPT_MS = 10_000;

/** A master, or a node that may know the masters. */
interface Node {
  readonly address: NodeAddress;
  readonly link: ServerLink;
  keptUntilMs: number;
}

type Ask = (node: ServerLink, leftMs: number, asking: boolean) => Promise<unknown>;

/** {@link Link} over the masters of a Cluster. */
export class ClusterLink implements Link {
  readonly sharded = true;
  readonly guarded = false;
  readonly #settings: RedisSettings & { readonly cluster: ClusterSettings };
  readonly #purpose: Purpose;
  readonly #timeoutMs: number;
  readonly #vitalSlot: number;
  readonly #nodes = new Map<string, Node>();
  readonly #owners = new Array<Node | undefined>(SLOTS);
  readonly #moving = new Map<number, number>();
  readonly #listeners: (() => void)[] = [];
  readonly #timer: NodeJS.Timeout;
  #refreshing: Promise<void> | undefined;
  #refreshedAtMs = Number.NEGATIVE_INFINITY;
  #troubled = true;
  #known = false;
  #turn = 0;
  #closed = false;
  /** Told when another server answers for `vitalKey` than before, before it has answered anything of ours. */
  onReplaced: () => void = () => undefined;

  /** `vitalKey`: the key without which {@link ready} makes no sense, the head of the revocation log. */
  constructor(settings: RedisSettings & { readonly cluster: ClusterSettings }, purpose: Purpose, vitalKey: string) {
    this.#settings = settings;
    this.#purpose = purpose;
    this.#timeoutMs = timeoutOf(settings, purpose);
    this.#vitalSlot = slotOf(vitalKey);
    this.#seed();
    this.#timer = setInterval(() => this.#look(), TROUBLED_REFRESH_MS).unref();
  }

  get ready(): boolean {
    return this.#owners[this.#vitalSlot]?.link.ready === true;
  }

  get answering(): boolean {
    return this.#owners[this.#vitalSlot]?.link.answering === true;
  }

  get problem(): string | undefined {
    return this.#owners[this.#vitalSlot]?.link.problem;
  }

  warnings(): readonly string[] {
    return this.#known && !this.#complete() ? ['redis_nodes_away'] : [];
  }

  /** Addresses of the masters that are known, and of the configuration: where notices can be heard. */
  addresses(): readonly NodeAddress[] {
    const known = [...this.#nodes.values()].filter(({ link }) => link.ready).map(({ address }) => address);
    return [...known, ...this.#settings.cluster.nodes];
  }

  /** True for a short time after a redirection: several keys in one call may then be refused that singly are not. */
  isMoving(key: string): boolean {
    return (this.#moving.get(slotOf(key)) ?? Number.NEGATIVE_INFINITY) > performance.now();
  }

  command(name: string, key: string, ...rest: Arguments): Promise<unknown> {
    return this.#route(key, (node, leftMs, asking) => node.send(name, [key, ...rest], leftMs, asking));
  }

  pinned(key: string): (name: string, ...args: Arguments) => Promise<unknown> {
    const node = this.#owners[slotOf(key)];
    if (node === undefined) throw this.#away();
    return node.link.pinned();
  }

  script(script: Script, keys: readonly string[], args: Arguments): Promise<unknown> {
    const ask: Ask = (node, leftMs, asking) => node.evaluate(script, keys, args, leftMs, asking);
    return this.#route(keys[0] as string, ask);
  }

  replicatedScript(script: Script, keys: readonly string[], args: Arguments): Promise<unknown> {
    const ask: Ask = (node, leftMs, asking) => node.evaluateReplicated(script, keys, args, leftMs, asking);
    return this.#route(keys[0] as string, ask);
  }

  /** As {@link script}, but a slot between two nodes rejects at once with `TRYAGAIN` instead of being tried again. */
  scriptOnce(script: Script, keys: readonly string[], args: Arguments): Promise<unknown> {
    const ask: Ask = (node, leftMs, asking) => node.evaluate(script, keys, args, leftMs, asking);
    return this.#route(keys[0] as string, ask, false);
  }

  async info(): Promise<ReadonlyMap<string, string>> {
    const masters = [...this.#masters()];
    const texts = await Promise.allSettled(masters.map(({ link }) => link.info()));
    const told = new Map<string, string>();
    for (const [at, text] of texts.entries()) {
      const { address } = masters[at] as Node;
      if (text.status === 'fulfilled') told.set(addressKey(address), text.value.get('redis') as string);
    }
    if (told.size === 0) throw storeUnavailable('no node of the Redis Cluster answers');
    return told;
  }

  onReady(listener: () => void): void {
    this.#listeners.push(listener);
    for (const { link } of this.#nodes.values()) link.onReady(listener);
  }

  async becomesReady(waitMs: number): Promise<boolean> {
    const until = performance.now() + waitMs;
    while (!this.#complete()) {
      if (performance.now() >= until || this.#closed) return false;
      await sleep(10);
      if (!this.#known) this.#look();
    }
    return true;
  }

  remake(key: string): void {
    this.#owners[slotOf(key)]?.link.remake();
  }

  refusesWrites(key: string, code: string): void {
    this.#troubled = true;
    this.#owners[slotOf(key)]?.link.refusesWrites(key, code);
  }

  connections(): number {
    let open = 0;
    for (const { link } of this.#nodes.values()) open += link.connections();
    return open;
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    for (const { link } of this.#nodes.values()) link.close();
  }

  /** Sends to the node of the key's slot, and after it to wherever redirections point, all within one timeout. */
  async #route(key: string, ask: Ask, patient = true): Promise<unknown> {
    const slot = slotOf(key);
    const until = performance.now() + this.#timeoutMs;
    let [node, asking] = [this.#owners[slot], false];
    for (let hop = 0; hop < MOST_HOPS; hop += 1) {
      if (node === undefined) throw this.#away();
      try {
        return await ask(node.link, until - performance.now(), asking);
      } catch (error) {
        const redirect = this.#redirect(error, node.address);
        if (redirect === undefined || (redirect.type === 'wait' && !patient)) throw storeError(error);
        [node, asking] = await this.#follow(redirect, slot, until);
      }
    }
    throw storeUnavailable('the Redis Cluster redirects in circles');
  }

  #redirect(error: unknown, asked: NodeAddress): Redirect | undefined {
    if (!(error instanceof Error) || error.name !== 'ReplyError') return undefined;
    if (error.message.startsWith('CLUSTERDOWN')) this.#troubled = true;
    return parseRedirect(error.message, asked);
  }

  async #follow(redirect: Redirect, slot: number, until: number): Promise<[Node | undefined, boolean]> {
    const nowMs = performance.now();
    this.#moving.set(slot, nowMs + MOVING_MS);
    if (redirect.type === 'wait') {
      await sleep(Math.min(TRY_AGAIN_MS, Math.max(0, until - nowMs)));
      return [this.#owners[slot], false];
    }
    const node = this.#node(redirect.address);
    node.keptUntilMs = nowMs + KEPT_MS;
    if (redirect.type === 'moved') {
      this.#troubled = true;
      this.#give(slot, node);
    }
    if (!node.link.ready) await node.link.becomesReady(Math.max(0, until - performance.now()));
    return [node, redirect.type === 'ask'];
  }

  #away(): RedisRefusal {
    this.#troubled = true;
    const cause = new Error('no node is known to serve the slot');
    return new RedisRefusal('CLUSTERDOWN', cause);
  }

  #give(slot: number, node: Node): void {
    const before = this.#owners[slot];
    this.#owners[slot] = node;
    if (slot === this.#vitalSlot && before !== undefined && before !== node) this.onReplaced();
  }

  #node(address: NodeAddress): Node {
    const key = addressKey(address);
    const present = this.#nodes.get(key);
    if (present !== undefined) return present;
    const link = new ServerLink(this.#settings, this.#purpose, address);
    const node: Node = { address, link, keptUntilMs: performance.now() + KEPT_MS };
    node.link.onReplaced = () => {
      if (this.#owners[this.#vitalSlot] === node) this.onReplaced();
    };
    node.link.onChange = () => {
      this.#troubled = true;
    };
    node.link.onReady(() => this.#look());
    for (const listener of this.#listeners) node.link.onReady(listener);
    this.#nodes.set(key, node);
    return node;
  }

  #seed(): void {
    for (const address of this.#settings.cluster.nodes) this.#node(address);
  }

  #masters(): Set<Node> {
    const masters = new Set<Node>();
    for (const owner of this.#owners) if (owner !== undefined) masters.add(owner);
    return masters;
  }

  #complete(): boolean {
    if (!this.#known) return false;
    for (const { link } of this.#masters()) if (!link.ready) return false;
    return true;
  }

  /** Reads the map when it is due: now and then, and often while something is wrong with it. */
  #look(): void {
    if (this.#closed || this.#refreshing !== undefined) return;
    if (!this.#troubled && performance.now() - this.#refreshedAtMs < REFRESH_EVERY_MS) return;
    this.#refreshing = this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
  }

  /** Asks one node after the other, beginning with another one each time, until one gives a map. */
  async #refresh(): Promise<void> {
    const ready = [...this.#nodes.values()].filter(({ link }) => link.ready);
    if (ready.length === 0) this.#seed();
    this.#turn += 1;
    for (let at = 0; at < ready.length; at += 1) {
      const node = ready[(at + this.#turn) % ready.length] as Node;
      try {
        const state = String(await node.link.send('cluster', ['INFO'], this.#timeoutMs));
        // A node that is cut off from the majority tells what was; so does one that starts.
        if (this.#known && !state.includes('cluster_state:ok')) continue;
        this.#adopt(parseSlots(await node.link.send('cluster', ['SLOTS'], this.#timeoutMs), node.address));
        return;
      } catch {
        // Away or refusing: the next one may know.
      }
    }
  }

  #adopt(ranges: readonly SlotRange[]): void {
    if (this.#closed || ranges.length === 0) return;
    for (const { from, to, master } of ranges) {
      const node = this.#node(master);
      for (let slot = from; slot <= to; slot += 1) this.#give(slot, node);
    }
    this.#known = true;
    this.#refreshedAtMs = performance.now();
    this.#troubled = !this.#complete();
    const masters = this.#masters();
    for (const node of masters) node.keptUntilMs = this.#refreshedAtMs + KEPT_MS;
    for (const [key, node] of this.#nodes) {
      if (masters.has(node) || node.keptUntilMs > this.#refreshedAtMs) continue;
      this.#nodes.delete(key);
      node.link.close();
    }
  }
}
