// A trail over a real PostgreSQL with real sealing, in a folder of its own; opening it again is a restart of the program.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { storedEvidence } from '../../src/audit/stored-evidence.ts';
import { DurableTrail, type TrailParts, type TrailSettings } from '../../src/audit/trail.ts';
import { verifyAudit } from '../../src/audit/verify.ts';
import type { AuditDraft } from '../../src/core/audit-trail.ts';
import { localKek } from '../../src/keys/kek.ts';
import { DataKeySealer } from '../../src/keys/sealer.ts';
import { PostgresAudit } from '../../src/stores/postgres/audit.ts';
import { PostgresDataKeys } from '../../src/stores/postgres/data-keys.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { openTestDatabase, type TestDatabase } from '../support/postgres-server.ts';

/** What the tests of the audit log have in common. */
export type AuditWorld = Awaited<ReturnType<typeof openAuditWorld>>;

/** Opens it; `database` to share or to break one. */
export async function openAuditWorld(given?: TestDatabase) {
  const database = given ?? (await openTestDatabase());
  const clock = new ManualClock();
  const pool = database.open({ timeoutMs: 1000 });
  const kek = localKek(randomBytes(32));
  const keysStore = new PostgresDataKeys(pool);
  const sealer = await DataKeySealer.open({ kek, store: keysStore, clock, rotateAfterMs: 9e9, rotateSeals: 1e6 });
  const store = new PostgresAudit(pool);
  const folder = mkdtempSync(join(tmpdir(), 'doorward-audit-'));
  const troubles: string[] = [];
  const trails: DurableTrail[] = [];
  const open = (settings: Partial<TrailSettings> = {}, parts: Partial<TrailParts> = {}) => {
    const trail = new DurableTrail(
      {
        folder,
        spoolBytes: 1_000_000,
        retentionMs: 400 * 86_400_000,
        checkpointEveryMs: 3_600_000,
        checkpointEvents: 1e9,
        signingKey: undefined,
        ...settings,
      },
      {
        store,
        sealer,
        clock,
        onEvent: () => undefined,
        onTrouble: (trouble) => void troubles.push(trouble),
        onCheckpoint: () => undefined,
        ...parts,
      },
    );
    trails.push(trail);
    return trail;
  };
  return {
    database,
    clock,
    pool,
    store,
    sealer,
    folder,
    troubles,
    open,
    /** As the API does it, with keys read anew. */
    async verify() {
      const reader = trails[0] ?? open();
      return verifyAudit(storedEvidence({ store, sealer, keys: await reader.keys() }));
    },
    async [Symbol.asyncDispose]() {
      for (const trail of trails) await trail[Symbol.asyncDispose]();
      if (given === undefined) await database[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** An event; `n` makes it tell from the others. */
export const event = (n: number): AuditDraft => ({
  type: 'token.issued',
  actor: { kind: 'operator', id: 'op_1' },
  address: '127.0.0.1',
  requestId: `request-${n}`,
  subject: `subject-${n}`,
  client: 'web',
  details: { n },
});

/** Records the events one after the other and waits until PostgreSQL has them. */
export async function recordAll(trail: DurableTrail, from: number, to: number): Promise<void> {
  for (let n = from; n <= to; n += 1) await trail.record(event(n));
  if (!(await trail.flushed(10_000))) throw new Error('the events did not reach PostgreSQL');
}
