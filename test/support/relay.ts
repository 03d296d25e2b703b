// A TCP relay between us and a real server: it forwards both ways until told to reset, stall, delay, truncate or refuse.
// Faults hold for open connections and for new ones, until `heal`.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type NetConnectOpts, type Socket } from 'node:net';

/** Which way bytes go: `up` from the client to the server, `down` back. */
export type Direction = 'up' | 'down';

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
}

const healthy = (): Faults => ({ stalled: false, delayMs: 0, quota: undefined });

/** One direction of one connection: a queue of chunks, so that their order survives any fault. */
class Lane {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #faults: () => Faults;
  readonly #count: (bytes: number) => void;
  readonly #held: (Buffer | 'end')[] = [];
  #left: number | undefined;
  #timer: NodeJS.Timeout | undefined;

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
    const { stalled, delayMs } = this.#faults();
    if (stalled || this.#held.length === 0) return;
    if (delayMs === 0) {
      this.#deliver();
      return;
    }
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#deliver();
    }, delayMs);
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
    this.#to.write(part);
    if (this.#left !== 0) return;
    this.#to.end();
    this.#from.end();
  }
}

/** RST; not of a socket that is shutting down: node would never finish it, and never exit. */
const resetSocket = (socket: Socket) => void (socket.writableEnded ? socket.destroy() : socket.resetAndDestroy());

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
      resetSocket(server);
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
    refuse: () => {
      refusing = true;
    },
    heal: () => {
      refusing = false;
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
