// Moves sealed fields from retired data keys to the active one, in the background and by small steps, and tells how far it
// is. Columns are declared by the aggregates that own them. Any replica may run it, or several: each field is compared
// before it is replaced.
import type { DataKeyStore, SealedRow, SealedRows } from '../stores/contracts/data-keys.ts';
import type { SealedColumn, SealedPlace, Sealer } from '../stores/contracts/sealer.ts';
import { placeText, sealedHead } from './envelope.ts';

const BATCH = 100;
/** A field sealed by a replica that had not yet heard of a rotation, or that waits in a spool, must find its key again. */
const LEAST_RETIRED_MS = 30 * 86_400_000;
const MOST_UNREADABLE = 20;
/** Counting all fields reads as much as there is, and is for people; what is outstanding is exact. */
const COUNTED_EVERY_MS = 60_000;

/** How far it is, over all declared columns; true whichever replica runs it. */
export interface ResealingProgress {
  /** Fields under the active key. */
  readonly done: number;
  /** All sealed fields; counted at most once a minute. */
  readonly total: number;
  /** True while this replica is at work. */
  readonly running: boolean;
  /** Fields that the last run here could not open, as table/row/column; at most 20. */
  readonly unreadable: readonly string[];
}

/** What re-sealing needs. */
export interface ResealingOptions {
  readonly sealer: Sealer & { readonly activeKeyId: string; refresh(): Promise<void> };
  readonly rows: SealedRows;
  readonly store: DataKeyStore;
  readonly nowMs: () => number;
  /** Every sealed column of the schema; a column that is missing here keeps its data keys from being deleted only by chance. */
  readonly columns: readonly SealedColumn[];
}

/** Re-seals on demand; runs at most once at a time. Disposing ends a run after the field at hand. */
export class Resealing implements AsyncDisposable {
  readonly #options: ResealingOptions;
  #unreadable: string[] = [];
  #run: Promise<void> | undefined;
  #total: { readonly fields: number; readonly atMs: number } | undefined;
  #ended = false;

  constructor(options: ResealingOptions) {
    this.#options = options;
  }

  /** Begins a run, or joins the one under way; resolves when every field that opens is under the active key. */
  run(): Promise<void> {
    this.#run ??= this.#all().finally(() => {
      this.#run = undefined;
    });
    return this.#run;
  }

  async progress(): Promise<ResealingProgress> {
    const { columns, rows, sealer } = this.#options;
    const head = sealedHead(sealer.activeKeyId);
    const outdated = await sum(columns.map((column) => rows.countOutdated(column, head)));
    const total = Math.max(await this.#totalNow(), outdated);
    return {
      done: total - outdated,
      total,
      running: this.#run !== undefined,
      unreadable: this.#unreadable,
    };
  }

  /** Deletes data keys that were retired 30 days ago or earlier and seal nothing any more; returns their ids (C17). */
  removeUnusedKeys(): Promise<readonly string[]> {
    const { store, columns, nowMs } = this.#options;
    return store.removeUnused(columns, nowMs() - LEAST_RETIRED_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true;
    await this.#run?.catch(() => undefined);
  }

  async #totalNow(): Promise<number> {
    const { columns, rows, nowMs } = this.#options;
    const counted = this.#total;
    if (counted !== undefined && Math.abs(nowMs() - counted.atMs) < COUNTED_EVERY_MS) return counted.fields;
    const fields = await sum(columns.map((column) => rows.total(column)));
    this.#total = { fields, atMs: nowMs() };
    return fields;
  }

  async #all(): Promise<void> {
    this.#unreadable = [];
    await this.#options.sealer.refresh();
    for (const column of this.#options.columns) await this.#column(column);
  }

  async #column(column: SealedColumn): Promise<void> {
    const { rows, sealer } = this.#options;
    let after: readonly string[] | undefined;
    while (!this.#ended) {
      const batch = await rows.outdated(column, sealedHead(sealer.activeKeyId), after, BATCH);
      for (const row of batch) if (!this.#ended) await this.#field(column, row);
      if (batch.length < BATCH) return;
      after = batch.at(-1)?.row;
    }
  }

  async #field(column: SealedColumn, row: SealedRow): Promise<void> {
    const { sealer, rows } = this.#options;
    const place: SealedPlace = { table: column.table, row: row.row, column: column.column, tenant: row.tenant };
    let field: Buffer;
    try {
      field = await sealer.unseal(place, row.sealed);
    } catch (error) {
      // Left as it is, and told: nobody could open it before either. A store that is away ends the run.
      if ((error as { readonly reason?: string }).reason !== 'sealed_unreadable') throw error;
      if (this.#unreadable.length < MOST_UNREADABLE) this.#unreadable.push(placeText(place));
      return;
    }
    await rows.replace(column, row, await sealer.seal(place, field));
  }
}

const sum = async (figures: readonly Promise<number>[]) =>
  (await Promise.all(figures)).reduce((all, figure) => all + figure, 0);
