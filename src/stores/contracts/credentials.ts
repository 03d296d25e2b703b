// Contract of WebAuthn credentials: what an authenticator gave at registration, to whom it belongs, and how far its sign
// count is. The ceremonies (WebAuthn Level 3, section 7) decide what is registered and who has proved what; here it is kept.

/** Whose credential it is. */
export interface CredentialOwner {
  readonly tenant: string | undefined;
  /** Id of the user; at most 512 bytes of UTF-8. */
  readonly userId: string;
}

/** A credential about to be kept. */
export interface NewWebauthnCredential extends CredentialOwner {
  /** As the authenticator chose it: 1 to 1023 bytes, as base64url without padding. */
  readonly credentialId: string;
  /** COSE_Key (RFC 9052); sealed for table webauthn_credential, row [userId, credentialId], column public_key. */
  readonly publicKey: Buffer;
  /** Model of the authenticator, 16 bytes; undefined when nobody knows. Sealed like the public key, column aaguid. */
  readonly aaguid: Buffer | undefined;
  /** 0 to 2^32 - 1; stays 0 for authenticators that do not count, such as synced passkeys. */
  readonly signCount: number;
  /** As `getTransports()` told them, unknown ones too; at most 16 of at most 64 characters. */
  readonly transports: readonly string[];
  readonly createdAtMs: number;
}

/** A credential as it is kept. */
export interface WebauthnCredential extends NewWebauthnCredential {
  /** Undefined until the first assertion. */
  readonly lastUsedAtMs: number | undefined;
  /** Data key that the public key is sealed under now. */
  readonly dataKeyId: string;
}

/** A credential of a list whose sealed fields do not open; it can be removed like any other. */
export type UnreadableCredential = Pick<
  WebauthnCredential,
  'credentialId' | 'createdAtMs' | 'lastUsedAtMs' | 'dataKeyId'
>;

/** The credentials of a user, oldest first; what does not open stands beside what does, and hides none of it. */
export interface CredentialList {
  readonly credentials: readonly WebauthnCredential[];
  readonly unreadable: readonly UnreadableCredential[];
}

/** What became of a sign count. `previous` is what was kept before. */
export interface SignCountAdvance {
  /** regressed: not above what was kept, nothing was changed; somebody may have cloned the authenticator. */
  readonly outcome: 'advanced' | 'regressed';
  readonly previous: number;
}

/**
 * Guarantees: a credential id belongs to one user at most, over all tenants and replicas; every read sees what was
 * acknowledged before; of assertions with one sign count above 0 one advances; owners and credentials outside the bounds
 * above are a TypeError, a text that is no credential id is merely unknown; every call rejects with `store_unavailable` when the store is away, and has then changed nothing or all.
 */
export interface CredentialStore {
  /** False, with nothing changed, when the credential id is registered already, whoever's it is. */
  create(credential: NewWebauthnCredential): Promise<boolean>;
  /** The credential, whoever's it is: the caller compares the owner. Rejects with `sealed_unreadable` when it does not open. */
  get(credentialId: string): Promise<WebauthnCredential | undefined>;
  /** All of the user; an unknown user has none. */
  list(owner: CredentialOwner): Promise<CredentialList>;
  /** How many the user has, unreadable ones included. */
  count(owner: CredentialOwner): Promise<number>;
  /** False when the user has no such credential (any more). */
  remove(owner: CredentialOwner, credentialId: string): Promise<boolean>;
  /**
   * Takes the sign count of a verified assertion: 0 after 0 passes, anything else must be above what is kept (WebAuthn
   * 6.1.1). Notes the use when it passes. Undefined for an unknown credential.
   */
  advance(credentialId: string, signCount: number, nowMs: number): Promise<SignCountAdvance | undefined>;
}
