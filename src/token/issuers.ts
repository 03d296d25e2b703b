// Opens one issuer block: its rules, and the source of its keys. The composition root opens one per block and closes it.
import type { SecretReference } from '../config/fields.ts';
import type { IssuerConfig } from '../config/schema.ts';
import type { Clock } from '../core/clock.ts';
import { leastSecretBytes } from './algorithms.ts';
import { HeldKeySet, type HeldKeysOrigin } from './held-key-set.ts';
import { KeySet, type KeySource, type RefreshOutcome, readKeySet, readKeySetText, requireKeys } from './key-set.ts';
import { LocalKeySet } from './local-key-set.ts';
import { misconfigured } from './refusal.ts';
import { RemoteKeySet } from './remote-key-set.ts';
import { type IssuerRules, rulesOf } from './rules.ts';
import type { SigningKey } from './signing-key.ts';
import { keyFromJwk, keyFromPem, keyFromSecret } from './verification-key.ts';

/** One issuer: what its tokens must be like, and its keys. Disposing it ends its fetching. */
export interface Issuer extends AsyncDisposable {
  /** Key of the issuer block. */
  readonly name: string;
  readonly rules: IssuerRules;
  readonly keys: KeySource;
}

/** One finished refresh of an issuer's keys; for `doorward_jwks_refresh_total` and the log. Holds no key material. */
export interface IssuerRefresh {
  readonly issuer: string;
  readonly outcome: RefreshOutcome;
  readonly detail: string | undefined;
}

/** What opening an issuer needs from outside. */
export interface IssuerSurroundings {
  /** Resolves a secret reference; throws when it cannot. */
  readonly secrets: (reference: SecretReference) => string;
  /** Reads a file as UTF-8 text; throws when it cannot. */
  readonly readFile: (path: string) => string;
  readonly clock: Clock;
  /** Needed for a block with `sign`: its public part verifies what we issued. */
  readonly signingKey?: SigningKey;
  /** Keys that somebody hands in, for a block with `sign` and rotating keys, or with `keys.published`. */
  readonly heldKeys?: HeldKeysOrigin;
  /** Told of every refresh; must not throw. */
  readonly onRefresh?: (refresh: IssuerRefresh) => void;
  /** Yields [0, 1); spreads retries. */
  readonly random?: () => number;
}

const LEAST_INTERVAL_MS = 1000;
/** Looking into our own stores is cheap, and a key made in an emergency must not wait for `keys.cooldown`. */
const MOST_HELD_COOLDOWN_MS = 1000;

function localReader(config: IssuerConfig, rules: IssuerRules, around: IssuerSurroundings): (() => KeySet) | undefined {
  const { algorithms } = rules;
  const { inline, file, pem, secret } = config.keys;
  if (config.sign !== undefined) return () => ownKeySet(around.signingKey, algorithms);
  if (secret !== undefined) return () => new KeySet([keyFromSecret(around.secrets(secret), algorithms)]);
  if (pem !== undefined) return () => new KeySet([keyFromPem(around.secrets(pem), algorithms)]);
  if (file !== undefined) return () => readKeySetText(around.readFile(file), algorithms);
  if (inline === undefined) return undefined;
  return () => {
    const set = readKeySet(inline, algorithms);
    if (set === undefined) throw misconfigured('keys.inline is no JWKS of at most 100 keys');
    return requireKeys(set);
  };
}

function ownKeySet(signingKey: SigningKey | undefined, algorithms: ReadonlySet<string>): KeySet {
  if (signingKey === undefined) throw misconfigured('an issuer with sign needs its signing key');
  const key = keyFromJwk(signingKey.publicJwk, algorithms);
  if ('why' in key) throw misconfigured(`the signing key cannot verify for this issuer: ${key.why}`);
  return new KeySet([key]);
}

function refuseMixedAlgorithms(config: IssuerConfig, rules: IssuerRules): void {
  if (config.keys.secret !== undefined && config.sign === undefined) return;
  for (const algorithm of rules.algorithms) {
    // A symmetric algorithm beside public keys is how a public key becomes a secret (attack 58).
    if (leastSecretBytes(algorithm) !== undefined) throw misconfigured(`${algorithm} is only for keys.secret`);
  }
}

function openKeys(config: IssuerConfig, rules: IssuerRules, around: IssuerSurroundings): KeySource {
  const { clock } = around;
  const report = (outcome: RefreshOutcome, detail: string | undefined) =>
    around.onRefresh?.({ issuer: rules.name, outcome, detail });
  if (around.heldKeys !== undefined) {
    const cooldownMs = Math.max(Math.min(config.keys.cooldown, MOST_HELD_COOLDOWN_MS), LEAST_INTERVAL_MS);
    return new HeldKeySet({ origin: around.heldKeys, clock, cooldownMs, onRefresh: report });
  }
  const read = localReader(config, rules, around);
  if (read !== undefined) {
    const anyKid = config.sign === undefined && (config.keys.pem ?? config.keys.secret) !== undefined;
    return new LocalKeySet({ read, anyKid, onRefresh: report });
  }
  const { url, refresh, cooldown, stale_for: staleForMs, timeout: timeoutMs } = config.keys;
  return new RemoteKeySet({
    issuer: rules.issuer,
    url,
    algorithms: rules.algorithms,
    refreshMs: Math.max(refresh, LEAST_INTERVAL_MS),
    cooldownMs: Math.max(cooldown, LEAST_INTERVAL_MS),
    staleForMs,
    timeoutMs,
    clock,
    ...(around.random ? { random: around.random } : {}),
    onRefresh: ({ outcome, detail }) => report(outcome, detail),
  });
}

/**
 * Opens the issuer block `name`. Local keys are read at once; remote ones at `keys.warm()` or with the first token.
 * Throws `misconfigured` when local keys are missing or unfit, and whatever `secrets` and `readFile` throw.
 */
export function openIssuer(name: string, config: IssuerConfig, surroundings: IssuerSurroundings): Issuer {
  const rules = rulesOf(name, config);
  refuseMixedAlgorithms(config, rules);
  const keys = openKeys(config, rules, surroundings);
  return { name, rules, keys, [Symbol.asyncDispose]: () => keys[Symbol.asyncDispose]() };
}
