// What operators' calls about keys rest on; the composition root hands it in. Without `postgres` there is none of it.
import type { DataKeyRecord } from '../stores/contracts/data-keys.ts';
import type { SigningKeyRecord } from '../stores/contracts/signing-keys.ts';
import type { RevocationResult } from './dependencies.ts';

/** A signing key with the name of its issuer block. */
export interface AdminSigningKey extends SigningKeyRecord {
  readonly issuerName: string;
}

/** Signing keys as operators use them. All reject with `store_unavailable` when PostgreSQL is away. */
export interface SigningKeyDesk {
  /** Keys of all our issuers, oldest first. */
  list(): Promise<readonly AdminSigningKey[]>;
  /**
   * A new key of the issuer block (default: the only one), published now; resolves with all keys of the issuer and when what
   * happens next. Rejects with `conflict` when one is pending already, `not_found` for an unknown block.
   */
  rotate(issuerName: string | undefined): Promise<SigningTimeline>;
  /** The pending key signs at once. Rejects with `conflict` or `not_found`, as the other two. */
  activate(kid: string): Promise<SigningTimeline>;
  /** The key steps down, or goes at once when it does not sign. */
  retire(kid: string): Promise<SigningTimeline>;
  /** The key is refused everywhere at once, and replaced when it signed. */
  ban(kid: string): Promise<SigningTimeline & Pick<RevocationResult, 'applied'>>;
}

/** The keys of one issuer and when the schedule will next do something by itself. */
export interface SigningTimeline {
  readonly issuerName: string;
  readonly keys: readonly AdminSigningKey[];
  readonly nextStepAtMs: number | undefined;
}

/** How far re-sealing is. */
export interface ResealingState {
  readonly done: number;
  readonly total: number;
  readonly running: boolean;
  readonly unreadable: readonly string[];
}

/** Data keys as operators look at them. */
export interface DataKeyDesk {
  /** Rejects with `store_unavailable` when PostgreSQL is away, `misconfigured` under a wrong key-encryption key. */
  status(): Promise<{ readonly keys: readonly DataKeyRecord[]; readonly resealing: ResealingState }>;
  /** A new data key seals from now on, and re-sealing begins; resolves with its id. */
  rotate(): Promise<string>;
  /** Begins re-sealing, or joins the one under way, and returns at once. */
  reseal(): void;
}
