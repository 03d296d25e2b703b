// Two benches at once would measure one another: only one of them may run on a machine.
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Throws when another bench is running. Holds until this process ends, however it ends. */
export async function beAlone(): Promise<void> {
  // An abstract Unix socket: the kernel takes it back with the process, so no stale lock is ever left.
  const lock = createServer().unref().listen('\0doorward-bench');
  try {
    await once(lock, 'listening');
  } catch (cause) {
    throw new Error('another bench is running on this machine: the two would measure one another', { cause });
  }
}
