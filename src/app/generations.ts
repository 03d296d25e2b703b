// Makes the compiled configuration that requests see, and carries over to the next one what should live longer than a
// reload: upstream pools and fetched key sets whose settings did not change. The verified-token cache is always made anew.
import { readFileSync } from 'node:fs';
import { configId, type LoadedConfig } from '../config/loaded.ts';
import type { IssuerConfig } from '../config/schema.ts';
import { enforceOverdue } from '../config/shadow.ts';
import type { Clock } from '../core/clock.ts';
import { reuse } from '../core/reuse.ts';
import { type ClientRecords, type KnownClients, layeredClients, staticClients } from '../limits/clients.ts';
import { compileGeneration } from '../proxy/compile.ts';
import type { CheckGate } from '../proxy/decide/check-gate.ts';
import type { Generation } from '../proxy/generation.ts';
import { type AssertionPlan, assertionPlan } from '../proxy/outbound/assertion.ts';
import type { Lookup } from '../proxy/outbound/endpoints/names.ts';
import type { Upstream } from '../proxy/outbound/upstream.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { HeldKeysOrigin } from '../token/held-key-set.ts';
import { createSigner, fixedSigningKey, type Signer } from '../token/issue.ts';
import { type Issuer, openIssuer } from '../token/issuers.ts';
import { openSigningKey, type SigningKey, signingKeyFromPem } from '../token/signing-key.ts';
import { createVerifier, type Verifier } from '../token/verify.ts';
import { hasRotatingKeys, type OwnKeys } from './own-keys.ts';
import { principalIssuers } from './principal-issuers.ts';
import type { PublishedKeys } from './published-keys.ts';
import type { Tracing } from './tracing.ts';
import { upstreamEntry } from './upstreams.ts';

/** What the rest of the program needs of the configuration in force. */
export interface Current {
  readonly loaded: LoadedConfig;
  readonly generation: Generation;
  readonly issuers: ReadonlyMap<string, Issuer>;
  /** By issuer block, only for those with `sign`. */
  readonly signers: ReadonlyMap<string, Signer>;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly verifier: Verifier;
  /** Records by the issuer names of this configuration. */
  readonly clients: ClientRecords;
}

/** Makes generations. */
export interface Generations extends AsyncDisposable {
  /** Compiles as it holds now (shadow modes that are over enforce) and becomes current; throws without any change when a key or secret turns out to be unusable. */
  next(loaded: LoadedConfig): Current;
}

/** Work that began under an old configuration may go on this long with its pools and keys. */
const GRACE_MS = 60_000;

/** Builds the maker; `stateDir` is where a signing key is kept when none is configured. */
export function generations(options: {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly gate: CheckGate;
  readonly stateDir: string;
  /** Signing keys in PostgreSQL; undefined without. */
  readonly ownKeys: OwnKeys | undefined;
  /** Key sets that a control plane publishes; undefined without `control_plane.public_key`. */
  readonly publishedKeys: PublishedKeys | undefined;
  /** What the control plane told of clients. */
  readonly knownClients: KnownClients;
  readonly tracing: Pick<Tracing, 'plan'>;
  /** Default: the system's resolver. */
  readonly lookup?: Lookup | undefined;
  /** Told of keys of an issuer block that verify no more. */
  readonly onKeysRemoved: (issuerName: string, keyIds: readonly string[]) => void;
}): Generations {
  const { clock, log, metrics, gate, stateDir, ownKeys, publishedKeys, knownClients } = options;
  const issuerReuse = reuse<Issuer>(GRACE_MS);
  const upstreamReuse = reuse<Upstream>(GRACE_MS);
  let verifier: Verifier | undefined;

  const ringOf = (config: IssuerConfig) => (hasRotatingKeys(config) ? ownKeys?.ring(config.issuer) : undefined);

  const heldKeysOf = (config: IssuerConfig): { readonly heldKeys?: HeldKeysOrigin } => {
    const from = config.keys.published ? publishedKeys : ringOf(config) && ownKeys;
    return from === undefined ? {} : { heldKeys: from.origin(config.issuer, new Set(config.algorithms)) };
  };

  const signingKeyOf = (config: IssuerConfig, loaded: LoadedConfig): SigningKey | undefined => {
    const { sign } = config;
    if (sign === undefined || ringOf(config) !== undefined) return undefined;
    if (sign.key === undefined) return openSigningKey(`${stateDir}/signing-key.pem`, sign.algorithm);
    return signingKeyFromPem(loaded.secrets.get(sign.key), sign.algorithm, 'sign.key');
  };

  const assertionsOf = ({ config, secrets }: LoadedConfig): AssertionPlan | undefined => {
    const { identity_assertion: assertion, name = '' } = config;
    if (!assertion.enabled) return undefined;
    const { algorithm, audience = name } = assertion;
    const given = assertion.keys?.map((key) =>
      signingKeyFromPem(secrets.get(key), algorithm, 'identity_assertion.keys'),
    );
    const keys = given ?? [openSigningKey(`${stateDir}/assertion-key.pem`, algorithm)];
    return assertionPlan(assertion, audience, keys, clock);
  };

  const openOne = (name: string, config: IssuerConfig, loaded: LoadedConfig, signingKey: SigningKey | undefined) =>
    openIssuer(name, config, {
      secrets: (reference) => loaded.secrets.get(reference),
      readFile: (path) => readFileSync(path, 'utf8'),
      clock,
      ...(signingKey === undefined ? {} : { signingKey }),
      ...heldKeysOf(config),
      onRefresh: ({ issuer, outcome, detail }) => {
        metrics.jwksRefresh.labels(issuer, outcome).inc();
        if (outcome !== 'ok') log.warn({ issuer, outcome, detail }, 'keys_refresh_failed');
      },
    });

  return {
    next(given) {
      const loaded = enforceOverdue(given, clock.nowMs());
      const { config } = loaded;
      ownKeys?.use(config);
      const keys = new Map(
        Object.entries(config.issuers).map(([name, issuer]) => [name, signingKeyOf(issuer, loaded)]),
      );
      const issuers = issuerReuse.next(
        new Map(
          Object.entries(config.issuers).map(([name, issuer]) => [
            name,
            {
              key: issuerText(issuer, loaded, keys.get(name)),
              open: () => openOne(name, issuer, loaded, keys.get(name)),
            },
          ]),
        ),
      );
      const upstreams = upstreamReuse.next(
        new Map(
          Object.entries(config.upstreams).map(([name, upstream]) => [
            name,
            upstreamEntry(name, upstream, loaded, { clock, log, metrics, lookup: options.lookup }),
          ]),
        ),
      );
      const fixed = staticClients(config.clients);
      const names = principalIssuers(config);
      const clients = layeredClients(fixed, knownClients, (name) => names.get(name));
      const before = verifier;
      const { remembered_tokens: cacheSize } = config.proxy;
      verifier = createVerifier({ issuers, clock, cacheSize, onKeysRemoved: options.onKeysRemoved });
      before?.[Symbol.dispose]();
      const assertions = assertionsOf(loaded);
      const tracing = options.tracing.plan(loaded);
      const parts = { clock, log, metrics, upstreams, verifier, gate, clients, assertions, tracing };
      const generation = compileGeneration(config, { ...parts, configId: configId(loaded) });
      const signers = new Map<string, Signer>();
      for (const [name, key] of keys) {
        const issuer = config.issuers[name] as IssuerConfig;
        const source = key === undefined ? ringOf(issuer) : fixedSigningKey(key);
        if (source !== undefined) signers.set(name, createSigner(issuer, source, clock));
      }
      return { loaded, generation, issuers, signers, upstreams, verifier, clients };
    },
    async [Symbol.asyncDispose]() {
      verifier?.[Symbol.dispose]();
      await Promise.all([issuerReuse[Symbol.asyncDispose](), upstreamReuse[Symbol.asyncDispose]()]);
    },
  };
}

/** All that an issuer is made of, secrets by digest: equal text, equal issuer. */
function issuerText(issuer: IssuerConfig, { secrets, digests }: LoadedConfig, key: SigningKey | undefined): string {
  const { pem, secret, file } = issuer.keys;
  const referenced = [pem, secret].map((reference) => (reference === undefined ? '' : secrets.digest(reference)));
  return JSON.stringify([issuer, referenced, file === undefined ? '' : digests.get(file), key?.kid]);
}
