// The log: one JSON line per event on standard output: time, level, event, then bindings. Planes log; library modules do not.
import { type DestinationStream, type Logger, destination as openDestination, pino } from 'pino';

/** The logger that planes are handed. Call as `log.info({ event: 'listening', … })`. */
export type Log = Logger;

const PIPE_BUF = 4096;
/** Lines that nobody takes are held up to here, and dropped beyond: a log that is not read must not take the memory of requests. */
const MAX_UNWRITTEN = 8 * 1024 * 1024;

// A second net only: nothing of ours puts these into a binding.
const redacted = ['authorization', 'cookie', 'token', 'secret', 'password', '*.authorization', '*.cookie', '*.token'];

/**
 * Opens the log. `destination` is given by tests; default is standard output. `bindings` stand in every line: a worker has its
 * number there.
 */
export function openLog(
  level: string,
  destination?: DestinationStream,
  bindings: Readonly<Record<string, unknown>> | undefined = undefined,
): Log {
  const options = {
    level,
    base: bindings ?? null,
    messageKey: 'event',
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: { paths: redacted, censor: '[secret]' },
  };
  // Lines that come while a write is under way leave with the next one: a flood of refusals is not a flood of writes. What
  // is left is written at exit.
  // Several processes may write to one pipe: what is longer than PIPE_BUF could end up in the middle of another's line.
  return pino(
    options,
    destination ?? openDestination({ dest: 1, sync: false, maxWrite: PIPE_BUF, maxLength: MAX_UNWRITTEN }),
  );
}
