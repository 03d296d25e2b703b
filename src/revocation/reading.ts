// Reads a whole revocation log into an index of its own, while the one that answers requests stays as it is. What happens in
// the log meanwhile is followed after every batch, so that reading a million entries never hides a new one for long.
import { storeUnavailable } from '../core/errors.ts';
import type {
  RevocationEvent,
  RevocationHead,
  RevocationLog,
  RevocationSnapshot,
} from '../stores/contracts/revocations.ts';
import { RevocationIndex } from './index.ts';

const ATTEMPTS = 3;

/** A log as it was at `head`. */
export interface ReadLog {
  readonly index: RevocationIndex;
  readonly head: RevocationHead;
}

/**
 * Reads all of it; `onEvent` is told of everything that happened since it began. Undefined when there is no log. Rejects with
 * `store_unavailable` when the store is away, or loses or exchanges its log faster than it can be read.
 */
export async function readLog(
  log: RevocationLog,
  onEvent: (event: RevocationEvent) => void,
): Promise<ReadLog | undefined> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const snapshot = await log.snapshot();
    if (snapshot === undefined) return undefined;
    const read = await readOnce(log, snapshot, onEvent);
    if (read !== undefined) return read;
  }
  throw storeUnavailable('the revocation log changes faster than it can be read');
}

/** Undefined when the log was lost, or went on for longer than its events are kept. */
async function readOnce(
  log: RevocationLog,
  { from, batches }: RevocationSnapshot,
  onEvent: (event: RevocationEvent) => void,
): Promise<ReadLog | undefined> {
  const index = new RevocationIndex();
  let head: RevocationHead | undefined = from;
  const follow = async (at: RevocationHead) => {
    const events = await log.since(at);
    for (const event of events ?? []) {
      index.apply(event);
      onEvent(event);
    }
    return events && { epoch: at.epoch, seq: at.seq + events.length };
  };
  for await (const batch of batches) {
    for (const entry of batch) index.put(entry);
    head = await follow(head);
    if (head === undefined) return undefined;
  }
  head = await follow(head);
  return head && { index, head };
}
