// Which signature algorithm goes with which key (RFC 7518, RFC 8037, RFC 8725 section 3.1). The pairing comes from
// configuration and key; what a token says can only be compared with it.

/** Accepted `alg` of issuers that list none. */
export const defaultAlgorithms: readonly string[] = ['ES256', 'RS256', 'EdDSA'];
/** Accepted `alg` of issuers with `keys.secret` that list none. */
export const defaultSecretAlgorithms: readonly string[] = ['HS256'];

const rsaAlgorithms: readonly string[] = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'];
const byCurve: ReadonlyMap<string, string> = new Map([
  ['P-256', 'ES256'],
  ['P-384', 'ES384'],
  ['P-521', 'ES512'],
  ['Ed25519', 'EdDSA'],
]);
const secretBytes: ReadonlyMap<string, number> = new Map([
  ['HS256', 32],
  ['HS384', 48],
  ['HS512', 64],
]);

/** Algorithms that a public key of this type and curve could serve; empty for types we do not know. */
export function algorithmsOfKey(type: string, curve: string | undefined): readonly string[] {
  if (type === 'RSA') return rsaAlgorithms;
  const algorithm = byCurve.get(curve ?? '');
  const fits = algorithm !== undefined && type === (algorithm === 'EdDSA' ? 'OKP' : 'EC');
  return fits ? [algorithm] : [];
}

/** Least bytes of a shared secret for the algorithm (RFC 7518 section 3.2); undefined when it uses none. */
export function leastSecretBytes(algorithm: string): number | undefined {
  return secretBytes.get(algorithm);
}
