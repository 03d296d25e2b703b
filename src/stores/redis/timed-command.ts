// A command that gives its answer the benefit of the doubt: one that has arrived while this process stood still counts as in time.
import { Command } from 'ioredis';

/** As ioredis' own, but for the moment at which it is given up: {@link setTimeout} is called by ioredis with `commandTimeout`. */
export class TimedCommand extends Command {
  /** In ms; the first call counts. Rejects with what ioredis says of a timeout. */
  override setTimeout(ms: number): void {
    const own = this as unknown as { _commandTimeoutTimer: NodeJS.Timeout | undefined };
    // ioredis clears it with the answer. Timers run before sockets are read (core/peer-timeout.ts).
    own._commandTimeoutTimer ??= setTimeout(
      () => setImmediate(() => this.isResolved || this.reject(new Error('Command timed out'))),
      ms,
    );
  }
}
