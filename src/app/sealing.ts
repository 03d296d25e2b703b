// Sealing as the program runs it: opened with the control plane, data keys replaced when due, fields under old data keys
// re-sealed in the background, unused data keys deleted.
import type { DataKeyDesk } from '../admin/key-desks.ts';
import { auditSealedColumns } from '../audit/keys.ts';
import { SidecarError, storeUnavailable } from '../core/errors.ts';
import { requireKek } from '../keys/data-keys.ts';
import { LateSealer } from '../keys/late-sealer.ts';
import { Resealing } from '../keys/resealing.ts';
import { signingKeyColumn } from '../keys/signing-ring.ts';
import type { DataKeysState } from '../stores/contracts/data-keys.ts';
import type { SealedColumn } from '../stores/contracts/sealer.ts';
import type { PostgresBackend } from '../stores/postgres/backend.ts';
import { credentialSealedColumns } from '../stores/postgres/credentials.ts';
import { PostgresDataKeys } from '../stores/postgres/data-keys.ts';
import { grantSealedColumns } from '../stores/postgres/grants.ts';
import { idempotencyColumn } from '../stores/postgres/idempotency.ts';
import type { Postgres } from '../stores/postgres/pool.ts';
import { PostgresSealedRows } from '../stores/postgres/sealed-rows.ts';
import type { ControlPlaneParts } from './control-plane-parts.ts';
import { type Keks, openKeks } from './kek.ts';

/** Every sealed column of the schema: an aggregate that seals adds its own, or re-sealing would not find it. */
export const sealedColumns: readonly SealedColumn[] = [
  signingKeyColumn,
  ...auditSealedColumns,
  ...grantSealedColumns,
  idempotencyColumn,
  ...credentialSealedColumns,
];

/** Sealing with its upkeep. */
export interface Sealing extends AsyncDisposable {
  readonly sealer: LateSealer;
  readonly desk: DataKeyDesk;
  /** Seals of the active data key, as last seen; for the metric. */
  readonly seals: number;
  /** One round of upkeep: what is due is replaced, re-sealed, deleted. */
  keep(): Promise<void>;
}

const KEEP_EVERY_MS = 60_000;

/** Keeps everything away from a database that was sealed under another KEK. */
export interface KekGuard {
  readonly keks: Keks;
  /** For {@link openPostgres}: rejects with `misconfigured` for such a database, having changed nothing. */
  admit(server: Postgres): Promise<void>;
  /** Throws what it rejected with last. */
  requireRight(): void;
}

/** The guard. Throws `misconfigured` for a KEK that cannot be used at all. */
export async function openKekGuard({ loaded, stateDir, log }: ControlPlaneParts): Promise<KekGuard> {
  const keks = await openKeks(loaded, stateDir);
  let isAdmitted = false;
  let refusal: unknown;
  return {
    keks,
    async admit(server) {
      // Once only: while the fleet is moved to another KEK, a blip must not shut out who has the keys already.
      if (isAdmitted) return;
      try {
        await requireKek({ ...keks, store: new PostgresDataKeys(server) });
        isAdmitted = true;
      } catch (error) {
        // A remote KEK that is away says nothing about the database.
        if (!isMisconfigured(error)) return;
        if (refusal === undefined) log.error({ problem: messageOf(error) }, 'sealing_not_open');
        refusal = error;
        throw error;
      }
    },
    requireRight() {
      if (refusal !== undefined && !isAdmitted) throw refusal;
    },
  };
}

/**
 * Opens sealing. With PostgreSQL there, a wrong KEK rejects with `misconfigured` and the program must not start; with it away
 * the data keys are opened when it comes, and under a wrong KEK the guard never lets that happen.
 */
export async function openSealing(
  parts: ControlPlaneParts,
  postgres: PostgresBackend,
  guard: KekGuard,
): Promise<Sealing> {
  guard.requireRight();
  const { loaded, clock, log } = parts;
  const store = new PostgresDataKeys(postgres.pool);
  const rotation = { rotateAfterMs: loaded.config.sealing?.rotate_after ?? 90 * DAY_MS };
  const rotateSeals = loaded.config.sealing?.rotate_seals ?? 1_000_000;
  const sealer = new LateSealer({ ...guard.keks, store, clock, ...rotation, rotateSeals });
  if (postgres.state().status === 'up') await sealer.open().catch(unlessMisconfigured);
  postgres.onReady(() => {
    sealer.open().catch((error) => log.error({ problem: messageOf(error) }, 'sealing_not_open'));
  });
  const upkeep = new Upkeep(parts, sealer, postgres, store);
  const timer = setInterval(() => void upkeep.keep().catch(() => undefined), KEEP_EVERY_MS).unref();
  return Object.assign(upkeep, {
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      await upkeep.resealing[Symbol.asyncDispose]();
    },
  });
}

const DAY_MS = 86_400_000;
const messageOf = (error: unknown) => (error instanceof Error ? error.message : 'unknown');

const isMisconfigured = (error: unknown) => error instanceof SidecarError && error.kind === 'misconfigured';

function unlessMisconfigured(error: unknown): void {
  if ((error as { readonly kind?: string }).kind !== 'store_unavailable') throw error;
}

class Upkeep {
  readonly sealer: LateSealer;
  readonly resealing: Resealing;
  readonly desk: DataKeyDesk;
  seals = 0;
  readonly #store: PostgresDataKeys;
  readonly #parts: ControlPlaneParts;

  constructor(parts: ControlPlaneParts, sealer: LateSealer, postgres: PostgresBackend, store: PostgresDataKeys) {
    this.sealer = sealer;
    this.#store = store;
    this.#parts = parts;
    const rows = new PostgresSealedRows(postgres.pool);
    const late = {
      get activeKeyId() {
        return opened(sealer).activeKeyId;
      },
      refresh: async () => (await sealer.open()).refresh(),
      seal: sealer.seal.bind(sealer),
      unseal: sealer.unseal.bind(sealer),
    };
    const nowMs = () => parts.clock.nowMs();
    this.resealing = new Resealing({ sealer: late, rows, store, nowMs, columns: sealedColumns });
    this.desk = {
      status: async () => {
        await (await sealer.open()).refresh();
        return { ...(await this.#read()), resealing: await this.resealing.progress() };
      },
      rotate: async () => {
        const id = await (await sealer.open()).rotate();
        this.#reseal();
        return id;
      },
      reseal: () => this.#reseal(),
    };
  }

  async keep(): Promise<void> {
    const open = await this.sealer.open();
    const rotated = await open.rotateWhenDue();
    if (rotated) this.#parts.log.info({ data_key: open.activeKeyId }, 'data_key_rotated');
    await this.#read();
    const { done, total, unreadable } = await this.resealing.progress();
    if (done + unreadable.length < total) await this.resealing.run();
    const removed = await this.resealing.removeUnusedKeys();
    if (removed.length > 0) this.#parts.log.info({ data_keys: removed }, 'data_keys_deleted');
  }

  #reseal(): void {
    this.resealing.run().then(
      () => this.#parts.log.info('resealing_ended'),
      (error) => this.#parts.log.warn({ problem: messageOf(error) }, 'resealing_stopped'),
    );
  }

  async #read(): Promise<DataKeysState> {
    const state = await this.#store.read();
    this.seals = state.keys.find((key) => key.state === 'active')?.seals ?? 0;
    return state;
  }
}

function opened(sealer: LateSealer) {
  if (sealer.opened === undefined) throw storeUnavailable('the data keys are not open yet');
  return sealer.opened;
}
