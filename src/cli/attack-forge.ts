// Throw-away keys in place of those of an issuer, and tokens of them: as the issuer block and the route want them, and with one
// thing wrong. By hand with node:crypto, because jose refuses to make most of these.
import {
  constants,
  createHmac,
  createSecretKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';
import type { IssuerConfig, RouteConfig } from '../config/schema.ts';
import type { Forge } from './attack-target.ts';

/** A key in place of an issuer's own. */
export interface ForgeKey {
  readonly alg: string;
  readonly privateKey: KeyObject;
  readonly publicPem: string | undefined;
  readonly publicJwk: Readonly<Record<string, unknown>>;
  /** `keys` of the issuer block. */
  readonly block: Readonly<Record<string, unknown>>;
}

const CURVES: Readonly<Record<string, string>> = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' };

/** A key for the first algorithm that the issuer accepts. */
export function forgeKey({ algorithms }: Pick<IssuerConfig, 'algorithms'>): ForgeKey {
  const [alg = 'ES256'] = algorithms ?? [];
  if (alg.startsWith('HS')) {
    const secret = randomBytes(64).toString('hex');
    const privateKey = createSecretKey(Buffer.from(secret));
    return { alg, privateKey, publicPem: undefined, publicJwk: {}, block: { secret: { value: secret } } };
  }
  const { privateKey, publicKey } = makePair(alg);
  const publicJwk = { ...publicKey.export({ format: 'jwk' }), kid: 'attack', alg, use: 'sig' };
  const publicPem = publicKey.export({ type: 'spki', format: 'pem' }) as string;
  return { alg, privateKey, publicPem, publicJwk, block: { inline: { keys: [publicJwk] } } };
}

function makePair(alg: string): { readonly privateKey: KeyObject; readonly publicKey: KeyObject } {
  const namedCurve = CURVES[alg];
  if (namedCurve !== undefined) return generateKeyPairSync('ec', { namedCurve });
  return alg === 'EdDSA' ? generateKeyPairSync('ed25519') : generateKeyPairSync('rsa', { modulusLength: 2048 });
}

function signature({ alg, privateKey }: ForgeKey, input: string): Buffer {
  const [bytes, hash] = [Buffer.from(input), `sha${alg.slice(-3)}`];
  if (alg === 'EdDSA') return sign(null, bytes, privateKey);
  if (alg.startsWith('HS')) return createHmac(hash, privateKey).update(bytes).digest();
  if (alg.startsWith('ES')) return sign(hash, bytes, { key: privateKey, dsaEncoding: 'ieee-p1363' });
  if (alg.startsWith('RS')) return sign(hash, bytes, privateKey);
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  return sign(hash, bytes, { key: privateKey, padding, saltLength: constants.RSA_PSS_SALTLEN_DIGEST });
}

const encode = (text: string) => Buffer.from(text).toString('base64url');

/** Tokens of an issuer for a route, made at `nowMs`. */
export function forgeFor(key: ForgeKey, issuer: IssuerConfig, route: RouteConfig, nowMs: number): Forge {
  const stranger = forgeKey({ algorithms: [key.alg as 'ES256'] });
  const claims = claimsFor(issuer, route, Math.floor(nowMs / 1000));
  const type = issuer.types.find((one) => one !== 'absent');
  const header = { alg: key.alg, kid: key.publicJwk.kid, typ: type };
  const compact = (by: ForgeKey, head: string, payload: string) => {
    const input = `${encode(head)}.${encode(payload)}`;
    return `${input}.${signature(by, input).toString('base64url')}`;
  };
  return {
    good: (changes = {}, more = {}) =>
      compact(key, JSON.stringify({ ...header, ...more }), JSON.stringify({ ...claims, ...changes })),
    sign: (head, payload) => compact(key, head, payload),
    stranger: (more = {}) => compact(stranger, JSON.stringify({ ...header, ...more }), JSON.stringify(claims)),
    publicPem: key.publicPem,
    publicJwk: key.publicJwk,
    strangerJwk: stranger.publicJwk,
    audienceClaim: issuer.audience_claim,
  };
}

type Claims = Record<string, unknown>;

/** Sets a claim at its path; one top-level name, or a list of names. */
function put(claims: Claims, path: string | readonly string[], value: unknown): void {
  const names = typeof path === 'string' ? [path] : path;
  let at = claims;
  for (const name of names.slice(0, -1)) {
    at[name] ??= {};
    at = at[name] as Claims;
  }
  at[names.at(-1) as string] = value;
}

const first = (value: unknown): unknown => (Array.isArray(value) ? value[0] : value);
const listed = (wanted: readonly string[] | { readonly any: readonly string[] } | undefined): readonly string[] =>
  wanted === undefined ? [] : 'any' in wanted ? wanted.any.slice(0, 1) : wanted;

/** Everything that issuer block and route ask for. */
function claimsFor(issuer: IssuerConfig, { require = {} }: RouteConfig, nowSeconds: number): Claims {
  const lifetime = Math.max(1, Math.min(300, Math.floor(issuer.max_lifetime / 1000)));
  const names = issuer.claims;
  const claims: Claims = { iss: issuer.issuer, iat: nowSeconds, exp: nowSeconds + lifetime, jti: 'doorward-attack' };
  put(claims, names.subject, 'doorward-attack');
  put(claims, (first(names.client) as string | undefined) ?? 'client_id', 'doorward-attack');
  put(claims, issuer.audience_claim, first(issuer.audience));
  for (const [name, value] of Object.entries(issuer.require)) claims[name] = value === null ? 'any' : first(value);
  const [scopes, roles] = [listed(require.scopes), listed(require.roles)];
  if (scopes.length > 0) put(claims, names.scopes ?? 'scope', scopes.join(' '));
  if (roles.length > 0) put(claims, names.roles, roles);
  for (const [name, value] of Object.entries(require.claims ?? {}))
    put(claims, name === 'tenant' ? names.tenant : name, first(value));
  return claims;
}
