// The sealer of a program that may start before its database: opens the data keys with the first call that can, and goes on
// trying. A wrong key-encryption key is told at every attempt, and never turns into anything else.
import type { SealedPlace, Sealer } from '../stores/contracts/sealer.ts';
import { DataKeySealer, type SealerOptions } from './sealer.ts';

/** {@link Sealer} that opens by itself. Calls reject as {@link DataKeySealer.open} does until it succeeds. */
export class LateSealer implements Sealer {
  readonly #options: SealerOptions;
  #opened: DataKeySealer | undefined;
  #opening: Promise<DataKeySealer> | undefined;

  constructor(options: SealerOptions) {
    this.#options = options;
  }

  /** The open sealer, once there is one. */
  get opened(): DataKeySealer | undefined {
    return this.#opened;
  }

  /** Opens the data keys, or joins an attempt under way. */
  open(): Promise<DataKeySealer> {
    if (this.#opened !== undefined) return Promise.resolve(this.#opened);
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async seal(place: SealedPlace, plaintext: Uint8Array): Promise<Buffer> {
    return (this.#opened ?? (await this.open())).seal(place, plaintext);
  }

  async unseal(place: SealedPlace, sealed: Uint8Array): Promise<Buffer> {
    return (this.#opened ?? (await this.open())).unseal(place, sealed);
  }

  async #open(): Promise<DataKeySealer> {
    this.#opened = await DataKeySealer.open(this.#options);
    return this.#opened;
  }
}
