// The signing keys of one issuer as this replica holds them: read from the store every few seconds, moved along their
// schedule by whichever replica comes first, unsealed once. What it publishes is derived from the sealed private parts, so
// that nobody with the database alone can plant a key that we would accept.
import { createPrivateKey, type KeyObject } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import { SidecarError } from '../core/errors.ts';
import type { Sealer } from '../stores/contracts/sealer.ts';
import type {
  NewSigningKey,
  SigningKeyAlgorithm,
  SigningKeyChange,
  SigningKeyRecord,
  SigningKeyStore,
  SigningKeysState,
} from '../stores/contracts/signing-keys.ts';
import { nextStepAtMs, type ScheduledStep, type SigningSchedule, stepsDue } from './signing-schedule.ts';

/** A key pair just made; token/ makes it and knows how a kid comes about. */
export interface MadeSigningKey {
  readonly kid: string;
  readonly publicJwk: Readonly<Record<string, unknown>>;
  readonly privateKey: KeyObject;
}

/** A published key with its private part in memory. */
export interface HeldSigningKey extends MadeSigningKey {
  readonly algorithm: SigningKeyAlgorithm;
}

/** What a ring is made of. */
export interface SigningRingOptions {
  /** `iss` of the issuer block. */
  readonly issuer: string;
  readonly store: SigningKeyStore;
  readonly sealer: Sealer;
  readonly clock: Clock;
  /** The settings in force; read at each use. */
  readonly schedule: () => SigningSchedule;
  readonly make: (algorithm: SigningKeyAlgorithm) => Promise<MadeSigningKey>;
  /** kid and public JWK of a private key, as `make` would give them. */
  readonly describe: (privateKey: KeyObject, algorithm: SigningKeyAlgorithm) => MadeSigningKey;
  /** Told of a key that does not open or is not what it says; it is neither published nor used. */
  readonly onUnusable?: (kid: string, problem: string) => void;
}

/** What a replica knows, from one reading. */
interface View {
  readonly state: SigningKeysState;
  readonly held: ReadonlyMap<string, HeldSigningKey>;
  readonly published: readonly Readonly<Record<string, unknown>>[];
  readonly readAtMs: number;
}

/** Chooses steps from the keys as they are; throws to refuse. */
export type StepChoice = (
  keys: readonly SigningKeyRecord[],
  schedule: SigningSchedule,
  nowMs: number,
) => readonly ScheduledStep[];

/**
 * A replica that has not read the keys for this long signs no more: its active key may have stepped down, and tokens would
 * outlive the key set they verify with. The schedule's `outliveMs` covers it.
 */
export const STALE_AFTER_MS = 10 * 60_000;

const PUBLISHED = new Set(['pending', 'active', 'retiring']);

const nothing: readonly never[] = [];

class KeyNeeded extends Error {}

/** One issuer's keys. */
export class SigningRing {
  readonly #options: SigningRingOptions;
  readonly #listeners = new Set<() => void>();
  readonly #unusable = new Set<string>();
  #view: View | undefined;

  constructor(options: SigningRingOptions) {
    this.#options = options;
  }

  /** `iss`. */
  get issuer(): string {
    return this.#options.issuer;
  }

  /** All keys, as last read; undefined before the first reading. */
  get state(): SigningKeysState | undefined {
    return this.#view?.state;
  }

  /** When the schedule will do something next; undefined before the first reading. */
  get nextStepAtMs(): number | undefined {
    return this.#view && nextStepAtMs(this.#view.state.keys, this.#options.schedule());
  }

  /** True while what is known was read more than {@link STALE_AFTER_MS} ago, or nothing was. */
  get isStale(): boolean {
    const { clock } = this.#options;
    return this.#view === undefined || clock.monotonicMs() - this.#view.readAtMs > STALE_AFTER_MS;
  }

  /** The key that signs now. Throws `keys_unavailable` while none is known, or when what is known is 10 minutes old. */
  current(): HeldSigningKey {
    const view = this.#view;
    const active = view?.state.keys.find(({ state }) => state === 'active');
    const key = active && view?.held.get(active.kid);
    if (view === undefined || key === undefined) throw noKey('no signing key is known yet, or it does not open');
    if (this.isStale) {
      throw noKey('the signing keys have not been read for 10 minutes');
    }
    return key;
  }

  /** JWKs of all keys whose tokens are good: pending, active, retiring; public members only. The same array until they change. */
  published(): readonly Readonly<Record<string, unknown>>[] {
    return this.#view?.published ?? nothing;
  }

  /** Calls back after every change of the keys; returns the undo. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Reads the keys and does what the schedule asks for. Rejects with `store_unavailable`. */
  async refresh(): Promise<void> {
    const { issuer, store, clock, schedule } = this.#options;
    const state = await store.read(issuer);
    if (stepsDue(state.keys, schedule(), clock.nowMs()).length === 0) await this.#take(state);
    else await this.change(stepsDue);
  }

  /** Applies an operator's steps, or the schedule's; resolves with the keys afterwards, once this replica uses them. */
  async change(choose: StepChoice): Promise<SigningKeysState> {
    const state = await this.#apply(choose);
    await this.#take(state);
    return state;
  }

  async #apply(choose: StepChoice): Promise<SigningKeysState> {
    const { issuer, store, clock, schedule } = this.#options;
    let made: Omit<NewSigningKey, 'state' | 'activateAtMs'> | undefined;
    for (;;) {
      const [nowMs, settings] = [clock.nowMs(), schedule()];
      try {
        return await store.change(issuer, nowMs, (keys) =>
          choose(keys, settings, nowMs).map((step) => changeOf(step, made)),
        );
      } catch (error) {
        if (!(error instanceof KeyNeeded)) throw error;
        // Made and sealed outside of the transaction: an RSA key takes long, and sealing needs a connection of its own.
        made = await this.#make(settings.algorithm, nowMs);
      }
    }
  }

  async #make(
    algorithm: SigningKeyAlgorithm,
    createdAtMs: number,
  ): Promise<Omit<NewSigningKey, 'state' | 'activateAtMs'>> {
    const { issuer, sealer, make } = this.#options;
    const { kid, publicJwk, privateKey } = await make(algorithm);
    const sealedPrivate = await sealer.seal(placeOf(issuer, kid), privateKey.export({ format: 'der', type: 'pkcs8' }));
    return { issuer, kid, algorithm, publicJwk, createdAtMs, sealedPrivate };
  }

  async #take(read: SigningKeysState): Promise<void> {
    const { issuer, store, clock } = this.#options;
    const older = read.revision < (this.#view?.state.revision ?? 0);
    // A slower reading must not bring back what a later one took away; a second look tells it from a store set back.
    const state = older ? await store.read(issuer) : read;
    const before = this.#view;
    const held = new Map<string, HeldSigningKey>();
    for (const record of state.keys.filter((key) => PUBLISHED.has(key.state))) {
      const key = before?.held.get(record.kid) ?? (await this.#open(record));
      if (key !== undefined) held.set(record.kid, key);
    }
    const changed = before?.state.revision !== state.revision || before.held.size !== held.size;
    const published = changed ? [...held.values()].map(({ publicJwk }) => publicJwk) : before.published;
    this.#view = { state, held, published, readAtMs: clock.monotonicMs() };
    if (changed) for (const listener of this.#listeners) listener();
  }

  /** The key out of its sealed private part; undefined, and told, when it is not the key that its row says. */
  async #open({ kid, algorithm }: SigningKeyRecord): Promise<HeldSigningKey | undefined> {
    const { issuer, store, sealer, describe } = this.#options;
    const sealed = await store.sealedPrivate(issuer, kid);
    if (sealed === undefined) return undefined;
    try {
      const der = await sealer.unseal(placeOf(issuer, kid), sealed);
      const key = describe(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }), algorithm);
      if (key.kid === kid) return { ...key, algorithm };
      this.#tell(kid, 'its private part is another key');
    } catch (error) {
      if (error instanceof SidecarError && error.kind === 'store_unavailable') throw error;
      this.#tell(kid, error instanceof SidecarError ? error.message : 'its private part cannot be read');
    }
    return undefined;
  }

  /** Once per key: it is found again at every reading. */
  #tell(kid: string, problem: string): void {
    if (this.#unusable.has(kid)) return;
    this.#unusable.add(kid);
    this.#options.onUnusable?.(kid, problem);
  }
}

const placeOf = (issuer: string, kid: string) => ({ table: 'signing_key', row: [issuer, kid], column: 'private_key' });

const noKey = (message: string) => new SidecarError('store_unavailable', 'keys_unavailable', message);

function changeOf(
  step: ScheduledStep,
  made: Omit<NewSigningKey, 'state' | 'activateAtMs'> | undefined,
): SigningKeyChange {
  if (step.type !== 'create') return step;
  if (made === undefined) throw new KeyNeeded();
  return { type: 'create', key: { ...made, state: step.state, activateAtMs: step.activateAtMs } };
}

/** The column that re-sealing has to know. */
export const signingKeyColumn = { table: 'signing_key', idColumns: ['issuer', 'kid'], column: 'private_key' } as const;
