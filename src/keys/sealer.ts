// Seals and unseals fields (stores/contracts/sealer.ts) under the data keys of one database. Seals are counted in blocks
// that are reserved beforehand, so that replicas that are killed lose part of a block and never seal uncounted (C16).
import type { KeyObject } from 'node:crypto';
import type { DataKeyRecord } from '../stores/contracts/data-keys.ts';
import type { SealedPlace, Sealer } from '../stores/contracts/sealer.ts';
import { type DataKeyOptions, newDataKey, settleKek, unwrapDataKey } from './data-keys.ts';
import { type DataKey, dataKeyIdOf, openField, placeText, sealField } from './envelope.ts';
import { unsealRefused } from './refusals.ts';

/** Seals reserved at once. */
const BLOCK = 1000;

/** When a data key gives way to the next one. */
export interface SealerOptions extends DataKeyOptions {
  readonly rotateAfterMs: number;
  readonly rotateSeals: number;
}

/** The active key, and how many of the reserved seals are left. */
interface Active extends DataKey {
  readonly createdAtMs: number;
  left: number;
}

/** {@link Sealer} over the data keys in the store. */
export class DataKeySealer implements Sealer {
  readonly #options: SealerOptions;
  readonly #keys = new Map<string, KeyObject>();
  #active: Active | undefined;
  #refilling: Promise<void> | undefined;

  private constructor(options: SealerOptions) {
    this.#options = options;
  }

  /** Opens the data keys. Rejects with `misconfigured` for a wrong KEK (nothing was changed), or `store_unavailable`. */
  static async open(options: SealerOptions): Promise<DataKeySealer> {
    await settleKek(options);
    const sealer = new DataKeySealer(options);
    await sealer.refresh();
    return sealer;
  }

  /** The key that seals now, as far as this replica knows. */
  get activeKeyId(): string {
    return this.#requireActive().id;
  }

  async seal(place: SealedPlace, plaintext: Uint8Array): Promise<Buffer> {
    for (;;) {
      const active = this.#requireActive();
      if (active.left > 0 && !this.#isOld(active)) {
        active.left -= 1;
        return sealField(active, place, plaintext);
      }
      this.#refilling ??= this.#refill().finally(() => {
        this.#refilling = undefined;
      });
      await this.#refilling;
    }
  }

  async unseal(place: SealedPlace, sealed: Uint8Array): Promise<Buffer> {
    const id = dataKeyIdOf(sealed);
    if (id === undefined) throw unsealRefused(`${placeText(place)} holds no sealed field`);
    const key = this.#keys.get(id) ?? (await this.#find(id));
    if (key === undefined) throw unsealRefused(`${placeText(place)} was sealed under data key ${id}, which is gone`);
    return openField({ id, key }, place, sealed);
  }

  /** Makes a new data key active, whatever the age of the present one; returns its id. */
  async rotate(): Promise<string> {
    await this.refresh();
    await this.#replace(this.#requireActive().id);
    return this.activeKeyId;
  }

  /** Looks which key is active, and follows a rotation by another replica; replaces one that is due. */
  async refresh(): Promise<void> {
    const { keys } = await this.#options.store.read();
    const record = keys.find(({ state }) => state === 'active');
    if (record === undefined) throw unsealRefused('there is no active data key');
    if (record.dataKeyId === this.#active?.id) return;
    const key = await this.#hold(record);
    this.#active = { id: record.dataKeyId, key, createdAtMs: record.createdAtMs, left: 0 };
  }

  /** Replaces an active key that has reached its age, also when nothing is sealed; true when it did. */
  async rotateWhenDue(): Promise<boolean> {
    await this.refresh();
    const active = this.#requireActive();
    if (!this.#isOld(active)) return false;
    await this.#replace(active.id);
    return true;
  }

  async #refill(): Promise<void> {
    const { store, rotateSeals } = this.#options;
    const active = this.#requireActive();
    if (!this.#isOld(active)) {
      const granted = await store.reserve(active.id, BLOCK, rotateSeals);
      active.left += granted;
      if (granted > 0) return;
    }
    await this.refresh();
    // Unchanged: it is this replica that finds the key used up, or too old.
    if (this.#requireActive().id === active.id) await this.#replace(active.id);
  }

  async #replace(previous: string): Promise<void> {
    const { store, kek, clock } = this.#options;
    // False means that another replica was first; its key is what the refresh finds.
    await store.rotate(previous, await newDataKey(kek, clock));
    await this.refresh();
  }

  async #find(id: string): Promise<KeyObject | undefined> {
    const record = await this.#options.store.find(id);
    return record && this.#hold(record);
  }

  async #hold(record: DataKeyRecord): Promise<KeyObject> {
    const known = this.#keys.get(record.dataKeyId);
    if (known !== undefined) return known;
    const key = await unwrapDataKey(this.#options.kek, record);
    this.#keys.set(record.dataKeyId, key);
    return key;
  }

  #isOld({ createdAtMs }: Active): boolean {
    return this.#options.clock.nowMs() - createdAtMs >= this.#options.rotateAfterMs;
  }

  #requireActive(): Active {
    if (this.#active === undefined) throw new TypeError('the sealer is not open');
    return this.#active;
  }
}
