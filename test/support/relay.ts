// A TCP relay between us and a real server: it forwards both ways until told to reset, stall, delay, truncate, crumble, mangle
// or refuse.
// Faults hold for open connections and for new ones, until `heal`.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type NetConnectOpts, type Socket } from 'node:net';

/** Which way bytes go: `up` from the client to the server, `down` back. */
export type Direction = 'up' | 'down';

/** How bytes are spoilt. */
export type Mangling = 'repeat' | 'swap';

/** A running relay; ends with `await using`. */
export interface Relay extends AsyncDisposable {
  readonly port: number;
  /** Connections that are open on the client's side. */
  readonly open: number;
  /** Connections accepted so far. */
  readonly accepted: number;
  /** Bytes forwarded so far. */
  readonly forwarded: Readonly<Record<Direction, number>>;
  /** Sends RST on every connection, both sides. */
  reset(): void;
  /** Holds bytes back, all or of one direction; connections stay open, new ones are accepted and hang as well. */
  stall(direction?: Direction): void;
  /** Every chunk arrives `ms` later, in order. */
  delay(ms: number, direction?: Direction): void;
  /** Each connection ends (FIN, both sides) once `bytes` more have gone that way; what exceeds them is lost. */
  truncate(bytes: number, direction?: Direction): void;
  /** What comes arrives late and in pieces of odd sizes, in order and whole. */
  crumble(direction?: Direction): void;
  /**
   * What no TCP does and a broken middlebox may: every chunk arrives twice, or its halves in the wrong order. Connections that
   * were open then are reset by `heal`: what their ends believe of each other is past mending.
   */
  mangle(how: Mangling, direction?: Direction): void;
  /** New connections are reset at once; open ones go on. */
  refuse(): void;
  /** Ends every fault; what was held back is delivered. */
  heal(): void;
}

interface Faults {
  stalled: boolean;
  delayMs: number;
  /** Bytes that still pass on each connection; undefined for all. */
  quota: number | undefined;
  crumbled: boolean;
  mangling: Mangling | undefined;
}

const healthy = (): Faults => ({
  ...{ stalled: false, delayMs: 0, quota: undefined, crumbled: false, mangling: undefined },
});

/** Sizes of the pieces, in turn: within a length, across its end, across several answers. */
const PIECES = [1, 7, 64, 3, 256, 13] as const;

const spoilt = (chunk: Buffer, how: Mangling): readonly Buffer[] => {
  const half = chunk.length >> 1;
  return how === 'repeat' ? [chunk, chunk] : [chunk.subarray(half), chunk.subarray(0, half)];
};

/** One direction of one connection: a queue of chunks, so that their order survives any fault. */
class Lane {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #faults: () => Faults;
  readonly #count: (bytes: number) => void;
  readonly #held: (Buffer | 'end')[] = [];
  #left: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #piece = 0;

  constructor(from: Socket, to: Socket, faults: () => Faults, count: (bytes: number) => void) {
    this.#from = from;
    this.#to = to;
    this.#faults = faults;
    this.#count = count;
    this.restart();
    from.on('data', (chunk) => this.#hold(chunk as Buffer));
    from.on('end', () => this.#hold('end'));
    to.on('close', () => clearTimeout(this.#timer));
  }

  /** Takes over what the faults are now. */
  restart(): void {
    this.#left = this.#faults().quota;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#flow();
  }

  #hold(chunk: Buffer | 'end'): void {
    this.#held.push(chunk);
    if (this.#timer === undefined) this.#flow();
  }

  #flow(): void {
    const { stalled, delayMs, crumbled } = this.#faults();
    if (stalled || this.#held.length === 0) return;
    if (crumbled) {
      this.#crumble();
      return;
    }
    if (delayMs === 0) {
      this.#deliver();
      return;
    }
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#deliver();
    }, delayMs);
  }

  /** One piece now, the next a little later. */
  #crumble(): void {
    const next = this.#held.shift() as Buffer | 'end';
    if (next === 'end') return void this.#to.end();
    const size = PIECES[this.#piece++ % PIECES.length] as number;
    if (next.length > size) this.#held.unshift(next.subarray(size));
    this.#pass(next.subarray(0, size));
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#flow();
    }, 1);
  }

  #deliver(): void {
    for (const chunk of this.#held.splice(0)) {
      if (chunk === 'end') this.#to.end();
      else this.#pass(chunk);
    }
  }

  #pass(chunk: Buffer): void {
    if (this.#to.destroyed || this.#to.writableEnded) return;
    const part = this.#left === undefined ? chunk : chunk.subarray(0, this.#left);
    if (this.#left !== undefined) this.#left -= part.length;
    this.#count(part.length);
    const { mangling } = this.#faults();
    for (const bytes of mangling === undefined ? [part] : spoilt(part, mangling)) this.#to.write(bytes);
    if (this.#left !== 0) return;
    this.#to.end();
    this.#from.end();
  }
}

/** RST; not of a socket that is shutting down: node would never finish it, and never exit. Local sockets know no RST. */
const resetSocket = (socket: Socket, isLocal = false) =>
  void (isLocal || socket.writableEnded ? socket.destroy() : socket.resetAndDestroy());

/** Starts a relay on loopback before the server at `target` (`{port}`, `{host, port}` or `{path}`). */
export async function startRelay(target: NetConnectOpts, listenPort = 0): Promise<Relay> {
  const faults = { up: healthy(), down: healthy() };
  const forwarded = { up: 0, down: 0 };
  const pairs = new Map<Socket, { readonly server: Socket; readonly lanes: readonly Lane[] }>();
  let refusing = false;
  let accepted = 0;
  const listener = createServer({ allowHalfOpen: true }, (client) => {
    accepted += 1;
    client.on('error', () => undefined);
    if (refusing) return void client.resetAndDestroy();
    const server = connect({ ...target, allowHalfOpen: true });
    client.setNoDelay();
    server.setNoDelay();
    const count = (direction: Direction) => (bytes: number) => {
      forwarded[direction] += bytes;
    };
    const up = new Lane(client, server, () => faults.up, count('up'));
    const down = new Lane(server, client, () => faults.down, count('down'));
    pairs.set(client, { server, lanes: [up, down] });
    server.on('error', () => resetSocket(client));
    server.on('close', () => {
      // What is held back by a fault is still to come.
      if (!faults.down.stalled && faults.down.delayMs === 0) client.end();
    });
    client.on('close', () => {
      server.destroy();
      pairs.delete(client);
    });
  });
  listener.listen(listenPort, '127.0.0.1');
  await once(listener, 'listening');
  const change = (direction: Direction | undefined, more: Partial<Faults>) => {
    for (const each of direction === undefined ? (['up', 'down'] as const) : [direction])
      Object.assign(faults[each], more);
    for (const { lanes } of pairs.values()) for (const lane of lanes) lane.restart();
  };
  const reset = () => {
    for (const [client, { server }] of pairs) {
      resetSocket(client);
      resetSocket(server, 'path' in target);
    }
  };
  return {
    port: (listener.address() as AddressInfo).port,
    get open() {
      return pairs.size;
    },
    get accepted() {
      return accepted;
    },
    forwarded,
    reset,
    stall: (direction) => change(direction, { stalled: true }),
    delay: (ms, direction) => change(direction, { delayMs: ms }),
    truncate: (bytes, direction) => change(direction, { quota: bytes }),
    crumble: (direction) => change(direction, { crumbled: true }),
    mangle: (how, direction) => change(direction, { mangling: how }),
    refuse: () => {
      refusing = true;
    },
    heal: () => {
      refusing = false;
      if (faults.up.mangling !== undefined || faults.down.mangling !== undefined) reset();
      change(undefined, healthy());
    },
    async [Symbol.asyncDispose]() {
      const closed = once(listener, 'close');
      listener.close();
      reset();
      await closed;
    },
  };
}
