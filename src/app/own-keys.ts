// The signing keys of our own issuers that PostgreSQL holds: one ring for each issuer block with `sign` and without a key of
// its own, read every few seconds and moved along its schedule.
import type { SidecarConfig } from '../config/schema.ts';
import type { Clock } from '../core/clock.ts';
import { SigningRing, STALE_AFTER_MS } from '../keys/signing-ring.ts';
import type { SigningSchedule } from '../keys/signing-schedule.ts';
import type { Sealer } from '../stores/contracts/sealer.ts';
import type { SigningKeyStore } from '../stores/contracts/signing-keys.ts';
import type { Log } from '../telemetry/log.ts';
import type { HeldKeysOrigin } from '../token/held-key-set.ts';
import { type KeySet, readKeySet } from '../token/key-set.ts';
import { describeSigningKey, makeSigningKey } from '../token/signing-key.ts';

/** What they are made of. */
export interface OwnKeysParts {
  readonly store: SigningKeyStore;
  readonly sealer: Sealer;
  readonly clock: Clock;
  readonly log: Log;
  /** How often every ring is read; default 3 s. */
  readonly pollMs?: number;
}

type IssuerBlock = SidecarConfig['issuers'][string];

/** How often replicas read the keys: a ban is in force at once through revocations, the rest was published long before. */
const POLL_MS = 3000;
/** Clocks of replicas, and a signature that is being made. */
const SLACK_MS = 60_000;

/** True for an issuer block whose keys live in PostgreSQL. */
export const hasRotatingKeys = ({ sign }: IssuerBlock): boolean => sign !== undefined && sign.key === undefined;

/** Rings by issuer block. */
export class OwnKeys implements AsyncDisposable {
  readonly #parts: OwnKeysParts;
  readonly #blocks = new Map<string, IssuerBlock>();
  readonly #rings = new Map<string, SigningRing>();
  readonly #listeners = new Set<(ring: SigningRing) => void>();
  readonly #timer: NodeJS.Timeout;
  #failing = false;

  constructor(parts: OwnKeysParts) {
    this.#parts = parts;
    this.#timer = setInterval(() => void this.refresh(), parts.pollMs ?? POLL_MS).unref();
  }

  /** Takes the settings of a configuration; rings of new issuer blocks are made, those of removed ones rest. */
  use({ issuers }: SidecarConfig): void {
    this.#blocks.clear();
    for (const block of Object.values(issuers)) {
      if (!hasRotatingKeys(block)) continue;
      this.#blocks.set(block.issuer, block);
      if (!this.#rings.has(block.issuer)) this.#rings.set(block.issuer, this.#open(block.issuer));
    }
  }

  /** The ring of an issuer block that {@link hasRotatingKeys}. */
  ring(issuer: string): SigningRing {
    const ring = this.#rings.get(issuer);
    if (ring === undefined) throw new TypeError('no issuer block in use has these keys');
    return ring;
  }

  /** Rings of the configuration in use. */
  rings(): readonly SigningRing[] {
    return [...this.#blocks.keys()].map((issuer) => this.ring(issuer));
  }

  /** What verifies tokens of the issuer here. */
  origin(issuer: string, algorithms: ReadonlySet<string>): HeldKeysOrigin {
    const ring = this.ring(issuer);
    let held: { readonly from: unknown; readonly set: KeySet | undefined } = { from: undefined, set: undefined };
    return {
      held: () => {
        const from = ring.published();
        if (held.from !== from) held = { from, set: nonEmpty(from, algorithms) };
        return held.set;
      },
      reload: () => ring.refresh(),
      onChange: (listener) => ring.onChange(listener),
    };
  }

  /** Calls back after every change of any ring's keys. */
  onChange(listener: (ring: SigningRing) => void): void {
    this.#listeners.add(listener);
  }

  /** Reads all rings once; never rejects: what fails is said in the log, once until it works again. */
  async refresh(): Promise<void> {
    const results = await Promise.allSettled(this.rings().map((ring) => ring.refresh()));
    const failed = results.find((result) => result.status === 'rejected');
    const problem = failed?.reason instanceof Error ? failed.reason.message : 'unknown';
    if (failed !== undefined && !this.#failing) this.#parts.log.warn({ problem }, 'signing_keys_not_read');
    this.#failing = failed !== undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
  }

  #open(issuer: string): SigningRing {
    const { store, sealer, clock, log } = this.#parts;
    const ring = new SigningRing({
      issuer,
      store,
      sealer,
      clock,
      schedule: () => scheduleOf(this.#blocks.get(issuer)),
      make: makeSigningKey,
      describe: describeSigningKey,
      onUnusable: (kid, problem) => log.error({ issuer, kid, problem }, 'signing_key_unusable'),
    });
    ring.onChange(() => {
      log.info({ issuer, keys: ring.state?.keys.map(({ kid, state }) => `${kid} ${state}`) }, 'signing_keys_changed');
      for (const listener of this.#listeners) listener(ring);
    });
    return ring;
  }
}

function nonEmpty(keys: readonly unknown[], algorithms: ReadonlySet<string>): KeySet | undefined {
  const set = readKeySet({ keys }, algorithms);
  return set !== undefined && set.keys.length > 0 ? set : undefined;
}

function scheduleOf(block: IssuerBlock | undefined): SigningSchedule {
  if (block?.sign === undefined) throw new TypeError('the issuer block is gone');
  const { sign, max_lifetime: lifetimeMs, clock_tolerance: toleranceMs } = block;
  return {
    algorithm: sign.algorithm,
    accepted: block.algorithms ?? [sign.algorithm],
    publishBeforeMs: sign.publish_before,
    rotateEveryMs: sign.rotate_every,
    // A replica that lost PostgreSQL signs with what it knows for a while yet.
    outliveMs: lifetimeMs + toleranceMs + STALE_AFTER_MS + SLACK_MS,
  };
}
