// Who a request acts as once its token has verified. Built by token/verify.ts, read by every later stage.

/** A verified token, reduced to the words the rest of the house uses. Times in ms since the epoch. */
export interface Principal {
  /** Key of the issuer block in sidecar.yaml. */
  readonly issuerName: string;
  /** `iss`, exactly as signed. Every id below is only unique together with it. */
  readonly issuer: string;
  readonly subject: string | undefined;
  readonly client: string | undefined;
  readonly scopes: readonly string[];
  readonly roles: readonly string[];
  readonly tenant: string | undefined;
  /** `jti`; without one `sha256:` and the digest of `header.payload` (never of the signature, which anybody can vary). */
  readonly tokenId: string;
  /** `sid`. */
  readonly session: string | undefined;
  /** Token family of our own refresh grants. */
  readonly family: string | undefined;
  /** `kid` of the key that verified, or its RFC 7638 thumbprint. */
  readonly keyId: string;
  readonly issuedAtMs: number | undefined;
  readonly expiresAtMs: number;
  /** All claims as signed; frozen. */
  readonly claims: Readonly<Record<string, unknown>>;
}

/** Stands for a name of an issuer block in principals that come from a client certificate instead of a token. */
export const certificateIssuerName = 'client_certificate';
