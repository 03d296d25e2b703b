// Issuers: one source of keys each, algorithms that fit it, and no `iss` twice. Mixing shared secrets with public keys under
// one issuer is how a public key becomes an HMAC secret (attack 58), so it cannot be configured.
import { defaultAlgorithms } from '../effective.ts';
import type { Path } from '../places.ts';
import type { IssuerConfig } from '../schema.ts';
import { readText } from '../secrets.ts';
import { type Check, type CheckContext, refuse, withSecret } from './context.ts';
import { fetchProblem } from './hosts.ts';
import { jwkProblem, keySetProblem, publicPemProblem, sharedSecretProblem, signingKeyProblem } from './key-material.ts';

/** Checks `issuers`. */
export const checkIssuers: Check = (context) => {
  const seen = new Map<string, string>();
  for (const [name, issuer] of Object.entries(context.config.issuers)) {
    const first = seen.get(issuer.issuer);
    if (first !== undefined) context.problem(['issuers', name, 'issuer'], `is the same as that of issuers.${first}`);
    else seen.set(issuer.issuer, name);
    checkKeySource(context, ['issuers', name], issuer);
    checkAlgorithms(context, ['issuers', name], issuer);
    checkTimes(context, ['issuers', name], issuer);
  }
};

const SOURCES = ['url', 'file', 'inline', 'pem', 'secret', 'published'] as const;

function checkKeySource(context: CheckContext, path: Path, issuer: IssuerConfig): void {
  const { keys } = issuer;
  const named: string[] = SOURCES.filter((source) => keys[source] !== undefined);
  if (keys.discover) named.unshift('discover');
  if (issuer.sign) {
    checkOwnIssuer(context, path, issuer, named);
    return;
  }
  if (named.length > 1) {
    context.problem([...path, 'keys'], `needs exactly one source of keys, not ${named.join(' and ')}`);
  } else if (named.length === 0 && keys.discover === false) {
    context.problem(
      [...path, 'keys'],
      'needs one source of keys: discover, url, file, inline, pem, secret or published',
    );
  }
  if (keys.discover ?? named.length === 0) checkDiscovery(context, [...path, 'issuer'], issuer.issuer);
  checkKeys(context, [...path, 'keys'], keys);
}

function checkKeys(context: CheckContext, path: Path, keys: IssuerConfig['keys']): void {
  if (keys.url !== undefined) refuse(context, [...path, 'url'], fetchProblem(keys.url));
  if (keys.file !== undefined) {
    const read = readText(context.resolvePath(keys.file));
    refuse(context, [...path, 'file'], 'trouble' in read ? read.trouble : keySetProblem(read.text));
  }
  for (const [index, key] of (keys.inline?.keys ?? []).entries()) {
    refuse(context, [...path, 'inline', 'keys', index], jwkProblem(key));
  }
  withSecret(context, [...path, 'pem'], keys.pem, publicPemProblem);
  if (keys.published && !context.config.control_plane?.public_key) {
    context.problem(
      [...path, 'published'],
      'needs control_plane.public_key: what Redis says is believed only when signed',
    );
  }
}

function checkDiscovery(context: CheckContext, path: Path, issuer: string): void {
  const trouble = fetchProblem(issuer);
  if (trouble)
    context.problem(
      path,
      `${trouble}, because keys are found through it; or name keys.url, file, inline, pem or secret`,
    );
  else if (/[?#]/.test(issuer))
    context.problem(path, 'must not have a query or fragment (OpenID Connect Discovery 1.0)');
}

function checkOwnIssuer(context: CheckContext, path: Path, issuer: IssuerConfig, sources: readonly string[]): void {
  const { sign } = issuer;
  if (!sign) return;
  for (const source of sources)
    context.problem([...path, 'keys', source], 'does not go with sign: our own key is used');
  if (/^http:/i.test(issuer.issuer)) refuse(context, [...path, 'issuer'], fetchProblem(issuer.issuer));
  if (context.config.redis && !sign.key && !context.config.postgres) {
    context.problem([...path, 'sign'], 'needs key with redis, or postgres: replicas must share their signing keys');
  }
  if (sign.publish_before >= sign.rotate_every)
    context.problem([...path, 'sign', 'publish_before'], 'is not below rotate_every');
  withSecret(context, [...path, 'sign', 'key'], sign.key, (pem) => signingKeyProblem(pem, sign.algorithm));
  if (sign.lifetime > issuer.max_lifetime) context.problem([...path, 'sign', 'lifetime'], 'is above max_lifetime');
}

function checkAlgorithms(context: CheckContext, path: Path, issuer: IssuerConfig): void {
  const algorithms = issuer.algorithms ?? (defaultAlgorithms(issuer) as NonNullable<typeof issuer.algorithms>);
  algorithms.forEach((algorithm, index) => {
    const place = [...path, 'algorithms', index];
    const shared = algorithm.startsWith('HS');
    if (shared && !issuer.keys.secret) context.problem(place, `${algorithm} needs keys.secret`);
    if (!shared && issuer.keys.secret) context.problem(place, `${algorithm} does not go with keys.secret`);
  });
  if (issuer.sign && !algorithms.includes(issuer.sign.algorithm)) {
    context.problem([...path, 'algorithms'], `needs ${issuer.sign.algorithm}, with which sign signs`);
  }
  withSecret(context, [...path, 'keys', 'secret'], issuer.keys.secret, (secret) =>
    sharedSecretProblem(secret, algorithms),
  );
}

const MOST_TOLERANCE_MS = 10 * 60_000;

function checkTimes(context: CheckContext, path: Path, issuer: IssuerConfig): void {
  const { keys } = issuer;
  if (keys.cooldown > keys.refresh) context.problem([...path, 'keys', 'cooldown'], 'is above refresh');
  if (keys.stale_for < keys.refresh) context.problem([...path, 'keys', 'stale_for'], 'is below refresh');
  if (issuer.clock_tolerance > MOST_TOLERANCE_MS) {
    context.problem([...path, 'clock_tolerance'], 'needs at most 10m: expired tokens live that much longer');
  }
}
