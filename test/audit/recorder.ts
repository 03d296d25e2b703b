// A process that records events into a spool as fast as it can, PostgreSQL away, and prints the subject of each that was
// confirmed; killed by the test in the middle of it.
import { writeSync } from 'node:fs';
import { DurableTrail } from '../../src/audit/trail.ts';
import { systemClock } from '../../src/core/clock.ts';
import { storeUnavailable } from '../../src/core/errors.ts';
import type { AuditStore } from '../../src/stores/contracts/audit.ts';
import type { Sealer } from '../../src/stores/contracts/sealer.ts';
import { event } from './world.ts';

const away = () => Promise.reject(storeUnavailable('away'));
const trail = new DurableTrail(
  {
    folder: process.argv[2] as string,
    spoolBytes: 1e8,
    retentionMs: 9e9,
    checkpointEveryMs: 1e6,
    checkpointEvents: 1e9,
    signingKey: undefined,
  },
  {
    store: { append: away } as unknown as AuditStore,
    sealer: { seal: away, unseal: away } as Sealer,
    clock: systemClock,
    onEvent: () => undefined,
    onTrouble: () => undefined,
    onCheckpoint: () => undefined,
  },
);
let number = 0;
const recordOne = async (): Promise<void> => {
  for (;;) {
    const name = `${process.pid}-${number++}`;
    await trail.record({ ...event(0), subject: name });
    writeSync(1, `${name}\n`);
  }
};
for (let at = 0; at < 8; at += 1) void recordOne();
process.send?.('ready');
