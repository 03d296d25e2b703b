// The audit log of PostgreSQL as evidence for verify.ts and as lines of an export, read in pages.
import { SidecarError } from '../core/errors.ts';
import type { AuditStore, StoredAuditRecord, StoredCheckpoint } from '../stores/contracts/audit.ts';
import type { Sealer } from '../stores/contracts/sealer.ts';
import type { CheckpointKeys } from './keys.ts';
import { detailsPlace } from './trail.ts';
import type { AuditEvidence, AuditEvidenceEvent } from './verify.ts';

/** What a reader of the log needs. */
export interface AuditReading {
  readonly store: AuditStore;
  readonly sealer: Sealer;
  readonly keys: CheckpointKeys;
}

const EVENTS = 1000;
const CHECKPOINTS = 20;

/** Evidence that is read while it is verified. */
export function storedEvidence({ store, sealer, keys }: AuditReading): AuditEvidence {
  return {
    keys: keys.trusted,
    checkpoints: (after) => allCheckpoints(store, after),
    async *events() {
      let after: StoredAuditRecord | undefined;
      for (;;) {
        const page = await store.walk(after, EVENTS);
        for (const record of page) yield opened(record, sealer);
        after = page.at(-1);
        if (after === undefined || page.length < EVENTS) return;
      }
    },
  };
}

async function* allCheckpoints(store: AuditStore, after: number): AsyncIterable<StoredCheckpoint> {
  for (let from = after; ; ) {
    const page = await store.checkpoints(from, CHECKPOINTS);
    yield* page;
    const last = page.at(-1);
    if (last === undefined || page.length < CHECKPOINTS) return;
    from = last.number;
  }
}

/** A record with its details in clear. Rejects with `store_unavailable` when the data key cannot be read now. */
export async function opened(stored: StoredAuditRecord, sealer: Sealer): Promise<AuditEvidenceEvent> {
  const { sealed, ...record } = stored;
  if (sealed === undefined) return { record, details: undefined };
  try {
    return { record, details: await sealer.unseal(detailsPlace(record), sealed) };
  } catch (error) {
    if (error instanceof SidecarError && error.kind === 'store_unavailable') throw error;
    return { record, details: 'unreadable' };
  }
}
