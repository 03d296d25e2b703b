// What happens to an error that nobody caught.
import type { Log } from '../telemetry/log.ts';

/** A defect in one request must not take the traffic of all others down: it is logged, and serving goes on. */
export function surviveDefects(log: Log): void {
  process.on('uncaughtException', (error) => log.error({ err: error }, 'uncaught_exception'));
  process.on('unhandledRejection', (reason) => log.error({ err: reason }, 'unhandled_rejection'));
}
