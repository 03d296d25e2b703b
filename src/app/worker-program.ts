// The program of a worker process, started by worker-slot.ts and by nobody else. Signals are the primary's business: a
// terminal or a service manager sends them to all processes at once, and only the primary knows what is to follow.
import { openSidecar } from '../app.ts';
import { openLog } from '../telemetry/log.ts';
import { surviveDefects } from './defects.ts';
import type { Sidecar } from './sidecar.ts';
import { takeSeat } from './worker-seat.ts';

let sidecar: Sidecar | undefined;

surviveDefects(openLog('error'));
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined);
// Without the primary there is no readiness, no revoking and nobody to restart us: its successor finds the port free.
process.on('disconnect', () => process.exit(1));

takeSeat(process, {
  async open(seat) {
    try {
      sidecar = await openSidecar({ file: seat.loaded().file, env: {}, seat });
    } catch (error) {
      // After the answer that says why.
      setTimeout(() => process.exit(1), 100);
      throw error;
    }
  },
  async close() {
    await sidecar?.[Symbol.asyncDispose]();
    setTimeout(() => process.exit(0), 10);
  },
});
