// A bound on how long a peer may be silent. Timers run before sockets are read: a process that stood still (a CPU quota, a machine that
// was paused, a long collection) would take its own silence for its peer's, although the answer lies there.

/** Calls `giveUp` once after `ms`, when what had arrived by then is read; not after {@link clear}. */
export class PeerTimeout {
  readonly #timer: NodeJS.Timeout;
  #reading: NodeJS.Immediate | undefined;

  constructor(ms: number, giveUp: () => void) {
    this.#timer = setTimeout(() => {
      this.#reading = setImmediate(giveUp);
    }, ms);
  }

  /** May be called at any time, and again. */
  clear(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#reading);
  }
}
