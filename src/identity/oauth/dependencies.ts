// What the public OAuth endpoints rest on: contracts and plain functions, handed in by the composition root, and the settings
// of the configuration in force.
import type { KnownNames } from '../../clients/properties.ts';
import type { AuditTrail } from '../../core/audit-trail.ts';
import type { Clock } from '../../core/clock.ts';
import type { Principal } from '../../core/principal.ts';
import type { AddressReader } from '../../http/client-address.ts';
import type { LocalLimits } from '../../limits/local.ts';
import type { CheckStore } from '../../stores/contracts/checks.ts';
import type { Client, ClientNotice, ClientStore } from '../../stores/contracts/clients.ts';
import type { EndedGrants, Grants } from '../../stores/contracts/grants.ts';
import type { InitialAccessTokens } from '../../stores/contracts/initial-access-tokens.ts';
import type { OneTimeValues } from '../../stores/contracts/one-time.ts';
import type {
  RevocationDraft,
  RevocationEntry,
  RevocationGuard,
  RevocationHead,
} from '../../stores/contracts/revocations.ts';
import type { Sealer } from '../../stores/contracts/sealer.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import type { Signer } from '../../token/issue.ts';
import type { KeySource } from '../../token/key-set.ts';
import type { Verifier } from '../../token/verify.ts';
import type { EndpointLimits } from './limits.ts';

/** What became of a revocation; `pending` is in force here and told to the others as soon as Redis is back. */
export interface RevocationMade {
  readonly applied: 'all' | 'pending';
  readonly ended?: EndedGrants | undefined;
}

/** Revocations as these endpoints see and make them. */
export interface RevocationSide {
  /** The entry that refuses the principal, by what this replica knows. */
  refuses(principal: Principal): RevocationEntry | undefined;
  /** False while nobody can tell what is revoked: then nothing is said to be active. */
  isKnown(): boolean;
  /** Brings this replica up to the head that a check has read; resolves when its answers count, or waiting is over. */
  observe(head: RevocationHead | undefined): Promise<unknown> | unknown;
  /** Durable and in force here once it resolves, as `guard` leaves it beside what is held. Rejects with `store_unavailable`. */
  revoke(draft: RevocationDraft, guard?: RevocationGuard): Promise<RevocationMade>;
}

/** Keys of clients that authenticate with `private_key_jwt`. */
export interface ClientKeys {
  /** Undefined for a client without keys. */
  of(client: Client): Pick<KeySource, 'find'> | undefined;
}

/** Clients that register themselves. */
export interface RegistrationSide {
  readonly store: Pick<ClientStore, 'add' | 'update' | 'remove' | 'findByRegistrationToken' | 'setRegistrationToken'>;
  readonly initialTokens: Pick<InitialAccessTokens, 'redeem'>;
  /** Tells replicas of a change; never rejects for a store that is away. */
  announce(notice: ClientNotice): Promise<unknown>;
}

/** All that outlives a reload. */
export interface OAuthDependencies {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly audit: AuditTrail;
  readonly clients: Pick<ClientStore, 'get' | 'secretUsed'>;
  readonly clientKeys: ClientKeys;
  readonly registration: RegistrationSide;
  readonly grants: Grants;
  readonly oneTime: OneTimeValues;
  readonly sealer: Sealer;
  readonly checks: CheckStore;
  readonly local: LocalLimits;
  readonly revocations: RevocationSide;
  /** Of the configuration in force. */
  settings(): OAuthSettings;
}

/** Absolute URLs of what we serve. */
export interface EndpointUrls {
  readonly token: string;
  readonly revoke: string;
  readonly introspect: string;
  readonly register: string;
  readonly userinfo: string;
  readonly jwks: string;
}

/** The configuration in force, compiled. Durations in ms. */
export interface OAuthSettings {
  /** Key of the issuer block. */
  readonly issuerName: string;
  /** `iss`. */
  readonly issuer: string;
  /** Host name of the issuer, lower case, without port. */
  readonly host: string;
  /** Pages that may call from the browser, byte for byte. */
  readonly origins: ReadonlySet<string>;
  /** `/.doorward/oauth/`. */
  readonly basePath: string;
  readonly urls: EndpointUrls;
  readonly authorizationEndpoint: string | undefined;
  readonly signer: Signer;
  /** Algorithm of ID tokens. */
  readonly signingAlgorithm: string;
  readonly verifier: Verifier;
  readonly audience: readonly string[];
  readonly maxLifetimeMs: number;
  readonly clockToleranceMs: number;
  /** How long a key is published before it signs. */
  readonly publishBeforeMs: number;
  readonly codeLifetimeMs: number;
  readonly refreshLifetimeMs: number;
  readonly refreshIdleMs: number;
  readonly refreshGraceMs: number;
  readonly addresses: AddressReader;
  readonly readsForwarded: boolean;
  readonly limits: EndpointLimits;
  /** Names by which clients are judged. */
  readonly known: KnownNames;
  /** Scopes that the client may ask for now: its own, narrowed by its tier. */
  scopesOf(client: Client): readonly string[];
}
