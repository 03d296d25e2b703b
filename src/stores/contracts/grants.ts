// Contract of grants: authorization codes and the token families that came of them. A code or refresh token is never kept:
// a code by its digest, refresh tokens by a sealed secret of their family and a count. What they mean, and how long each
// lives, is decided by identity/oauth; here it only becomes true, once, for all replicas.

/** Whose grant it is, and for what. */
export interface GrantHolder {
  /** `iss` of our issuer block. */
  readonly issuer: string;
  readonly client: string;
  readonly subject: string;
  readonly session: string | undefined;
  readonly tenant: string | undefined;
  readonly scopes: readonly string[];
  readonly audience: readonly string[];
}

/** An authorization code about to be kept. */
export interface NewCode extends GrantHolder {
  /** SHA-256 of the code, 43 base64url characters. */
  readonly codeDigest: string;
  readonly redirectUri: string;
  /** PKCE S256 challenge (RFC 7636). */
  readonly codeChallenge: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  /** JSON of what the application said about the person; sealed for table authorization_code, row codeDigest, column sealed. */
  readonly sealed: Buffer;
}

/** A code as it is kept. */
export interface CodeRecord extends NewCode {
  readonly redeemedAtMs: number | undefined;
  /** The family that came of it. */
  readonly familyId: string | undefined;
}

/** Why a family ended. */
export type FamilyEnd = 'reuse' | 'code_reuse' | 'revoked' | 'client' | 'operator';

/** A token family about to begin. */
export interface NewFamily extends GrantHolder {
  readonly familyId: string;
  /** When the code it came of was minted. */
  readonly createdAtMs: number;
  /** Absolute end. */
  readonly expiresAtMs: number;
  /** End unless it is used before; never after `expiresAtMs`. */
  readonly idleUntilMs: number;
  /** False for a grant without refresh tokens. */
  readonly refreshable: boolean;
  /** JSON of the family's secret and of what is known about the person; sealed for table token_family, row familyId, column sealed. */
  readonly sealed: Buffer;
}

/** A family as it is kept. */
export interface FamilyRecord extends NewFamily {
  /** Number of the refresh token that may be redeemed next; the first is 0. */
  readonly counter: number;
  /** When the last refresh token was redeemed. */
  readonly rotatedAtMs: number | undefined;
  readonly endedAtMs: number | undefined;
  readonly endReason: FamilyEnd | undefined;
}

/** What became of a refresh token. */
export type Rotation =
  /** Redeemed now; its successor has the number `counter` of the record. */
  | { readonly outcome: 'rotated'; readonly family: FamilyRecord }
  /** Redeemed a moment ago, by a caller who may not have got the answer: the same successor. */
  | { readonly outcome: 'repeated'; readonly family: FamilyRecord }
  /** Redeemed before: somebody has a copy. The family has ended with this call. */
  | { readonly outcome: 'reused'; readonly family: FamilyRecord }
  /** Ended, expired, idle for too long, or never there. */
  | { readonly outcome: 'dead' };

/** Which grants are meant: those for which everything that is named holds. Never without anything but the issuer. */
export interface GrantFilter {
  readonly issuer: string;
  readonly subject?: string | undefined;
  readonly client?: string | undefined;
  readonly session?: string | undefined;
  readonly tenant?: string | undefined;
  readonly family?: string | undefined;
  /** Only those begun before. */
  readonly begunBeforeMs?: number | undefined;
  /** None of this session. */
  readonly exceptSession?: string | undefined;
  /** Not this family; says nothing of codes. */
  readonly exceptFamily?: string | undefined;
}

/** How many of each a call ended. */
export interface EndedGrants {
  readonly families: number;
  readonly codes: number;
}

/** A place in a list of families, newest first. */
export interface FamilyPlace {
  readonly createdAtMs: number;
  readonly familyId: string;
}

/**
 * The grants of one tenant, as if there were no others: what another tenant or none has is neither found nor ended. A code of
 * another tenant is refused with `forbidden`.
 */
export interface TenantGrants extends Pick<Grants, 'putCode' | 'find' | 'end' | 'dropCodes' | 'page'> {
  /** Which of these families are the tenant's, ended ones included. */
  owned(familyIds: readonly string[]): Promise<readonly string[]>;
}

/**
 * Guarantees: of any number of parallel redemptions of a code one wins; of any number of parallel redemptions of a refresh
 * token one rotates, and the others see what it made; what a call resolved survives a crash of anything; an ended family
 * never lives again; times are the caller's and kept to the millisecond; every call rejects with `store_unavailable` when the
 * store is away, and then nothing has happened or (when the connection was lost in the last step) all of it.
 */
export interface Grants {
  within(tenant: string): TenantGrants;
  putCode(code: NewCode): Promise<void>;
  findCode(codeDigest: string): Promise<CodeRecord | undefined>;
  /** Spends the code and begins the family, both or neither; false when the code is spent, expired at `nowMs`, or gone. */
  redeemCode(codeDigest: string, family: NewFamily, nowMs: number): Promise<boolean>;
  find(familyId: string): Promise<FamilyRecord | undefined>;
  /**
   * Redeems refresh token number `counter`. The family is good until `idleUntilMs` (or its absolute end) afterwards. Any
   * redeemed before that is not the last one, redeemed less than `graceMs` ago, ends the family.
   */
  rotate(
    familyId: string,
    counter: number,
    at: { readonly nowMs: number; readonly graceMs: number; readonly idleUntilMs: number },
  ): Promise<Rotation>;
  /** Ends a live family; undefined when there is none. */
  end(familyId: string, reason: FamilyEnd, nowMs: number): Promise<FamilyRecord | undefined>;
  /** Ends all live families that match and drops unspent codes that do; answers how many of each. TypeError for an empty filter. */
  endAll(filter: GrantFilter, reason: FamilyEnd, nowMs: number): Promise<EndedGrants>;
  /**
   * Drops unspent codes that match, and waits for redemptions under way, whose families are found by {@link page} afterwards;
   * answers how many. TypeError for an empty filter.
   */
  dropCodes(filter: GrantFilter): Promise<number>;
  /** Live families that match, newest first, after the place. */
  page(
    filter: Partial<GrantFilter>,
    after: FamilyPlace | undefined,
    limit: number,
    nowMs: number,
  ): Promise<readonly FamilyRecord[]>;
  /** Deletes some of what can be neither redeemed nor reused any more; answers how much. */
  expire(nowMs: number): Promise<number>;
}
