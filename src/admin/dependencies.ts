// What the admin plane rests on: plain functions and contracts, handed in by the composition root. Admin opens nothing
// itself and knows neither the proxy nor a concrete store.
import type { CheckpointKeys } from '../audit/keys.ts';
import type { KnownNames } from '../clients/properties.ts';
import type { AuditTrail } from '../core/audit-trail.ts';
import type { Clock } from '../core/clock.ts';
import type { Behind, Explanation, JudgedBy, Question } from '../core/explanation.ts';
import type { Principal } from '../core/principal.ts';
import type { AuditStore } from '../stores/contracts/audit.ts';
import type { ClientNotice, TenantClients } from '../stores/contracts/clients.ts';
import type { DecisionStore } from '../stores/contracts/decisions.ts';
import type { IdempotentAnswers } from '../stores/contracts/idempotency.ts';
import type { InitialAccessTokens } from '../stores/contracts/initial-access-tokens.ts';
import type { OperatorStore } from '../stores/contracts/operators.ts';
import type {
  RevocationDraft,
  RevocationEntry,
  RevocationGuard,
  RevocationKind,
} from '../stores/contracts/revocations.ts';
import type { Sealer } from '../stores/contracts/sealer.ts';
import type { Statistics } from '../stores/contracts/statistics.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Signer } from '../token/issue.ts';
import type { GrantDesk } from './grant-desk.ts';
import type { DataKeyDesk, SigningKeyDesk } from './key-desks.ts';
import type { OperatorCheck } from './operator-check.ts';
import type { ReadinessFacts } from './readiness.ts';

/** One issuer block, as far as operators' calls need it. */
export interface AdminIssuer {
  /** Key of the issuer block. */
  readonly name: string;
  /** `iss`. */
  readonly issuer: string;
  readonly maxLifetimeMs: number;
  readonly clockToleranceMs: number;
  /** Only for blocks with `sign`. */
  readonly signer: Signer | undefined;
}

/** Access tokens: who may sign them, and what one is worth now. */
export interface TokenDesk {
  /** All issuer blocks of the current configuration. */
  issuers(): readonly AdminIssuer[];
  /** The principal of a token of any issuer; rejects with SidecarError `unauthenticated` or `store_unavailable`. */
  verify(token: string): Promise<Principal>;
  /** True when the client's record is disabled. */
  isDisabled(principal: Principal): boolean;
  /** Verified tokens remembered on this replica for which `matches` holds; walks the whole cache. */
  countVerified(matches: (principal: Principal) => boolean): number;
}

/** What became of a revocation: `pending` is in force here and sent to the others as soon as the store is back. */
export interface RevocationResult {
  readonly entry: RevocationEntry;
  readonly applied: 'all' | 'pending';
}

/** Which entries of the revocation log: of some kinds, after a place in their order. */
export interface RevocationQuery {
  readonly kinds?: readonly RevocationKind[] | undefined;
  readonly after?: { readonly atMs: number; readonly id: string } | undefined;
  readonly limit: number;
}

/** The revocation log as operators use it. */
export interface RevocationDesk {
  /** In force on this replica once it resolves, as `guard` leaves it beside what is held. */
  revoke(draft: RevocationDraft, guard?: RevocationGuard): Promise<RevocationResult>;
  /** Takes an entry back; false when there is none. Rejects with `store_unavailable`. */
  undo(entryId: string): Promise<boolean>;
  /** Active entries, the pending ones included: the newest first, ties by id, from the first after a place on. */
  list(query: RevocationQuery): Promise<readonly RevocationEntry[]>;
  /** The active entry with this id, if any. */
  find(entryId: string): Promise<RevocationEntry | undefined>;
  /** The entry that refuses the principal now, if any. */
  refuses(principal: Principal): RevocationEntry | undefined;
  /** False while this replica cannot tell what is revoked; introspection then answers 503. */
  isKnown(): boolean;
  /** What {@link revoke} would make of it; rejects with `forbidden` where the caller may not make this entry. */
  permit(draft: RevocationDraft, guard?: RevocationGuard): Promise<RevocationDraft>;
  /** Whether `draft`, as an entry, would refuse the principal. */
  wouldRefuse(draft: RevocationDraft, principal: Principal): boolean;
}

/** The state of one rate of a limit for one caller. */
export interface LimitState {
  readonly limit: number;
  readonly window_ms: number;
  readonly remaining: number;
  readonly reset_ms: number;
}

/**
 * Limits as operators look at them. `key` is what is counted, as text: an address, `issuer/client`, parts joined by `,`. Both
 * reject with `not_found` when there is no such limit, with `malformed` for a key that cannot be one of it.
 */
export interface LimitDesk {
  look(name: string, key: string): Promise<readonly LimitState[]>;
  /** Whether anything was counted. */
  reset(name: string, key: string): Promise<boolean>;
}

/** One problem of a configuration that was refused. */
export interface ConfigProblem {
  readonly place: string;
  readonly path: string;
  readonly message: string;
  readonly nearest: string | undefined;
}

/** What became of a reload. */
export type ReloadResult =
  | { readonly ok: true; readonly changed: boolean; readonly restartNeeded: readonly string[] }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/** The configuration in use. */
export interface ConfigDesk {
  readonly file: string;
  hash(): string;
  /**
   * What stands in the configuration behind a verdict; undefined when it was judged by another than the one in force, whose lines
   * would mislead.
   */
  behind(verdict: JudgedBy): Behind | undefined;
  /** Complete YAML with secrets masked; with the source of each value as a comment when asked. */
  print(options: { readonly withSources: boolean }): string;
  reload(): ReloadResult | Promise<ReloadResult>;
}

/** The durable audit log as operators read it. */
export interface AuditDesk {
  readonly store: AuditStore;
  readonly sealer: Sealer;
  /** Resolves once the store has what this replica has recorded so far, or after a moment when it does not take it. */
  settled(): Promise<void>;
  /** The keys that checkpoints are believed to be signed by. Rejects with `store_unavailable`. */
  keys(): Promise<CheckpointKeys>;
}

/** Clients in PostgreSQL, and telling replicas of their changes. */
export interface ClientDesk {
  readonly store: Omit<TenantClients, 'owned'>;
  /** The clients of one tenant. */
  within(tenant: string): TenantClients;
  readonly initialTokens: InitialAccessTokens;
  /** In force here once it resolves; `all`: on every replica. Never rejects for a store that is away. */
  announce(notice: ClientNotice): Promise<'all' | 'pending'>;
  /** Names that the configuration in force has. */
  known(): KnownNames;
}

/** What was removed because it had expired, by what it is. */
export type Removed = Readonly<Record<string, number>>;

/** Figures of the durable store, and its cleaning. Both reject with `store_unavailable` when PostgreSQL is away. */
export interface UpkeepDesk {
  statistics(): Promise<Statistics>;
  /** Removes what has expired now; `busy` while another replica does. */
  cleanUp(): Promise<Removed | 'busy'>;
}

/** One route for tables. */
export interface RouteRow {
  readonly name: string;
  readonly match: string;
  readonly auth: string;
  readonly limits: readonly string[];
}

/** One upstream and its endpoints, as `GET /v1/upstreams` shows them. */
export interface UpstreamRow {
  readonly name: string;
  readonly takes_requests: boolean;
  readonly requests: number;
  readonly waiting: number;
  readonly connections: number;
  readonly streams: number;
  readonly endpoints: readonly {
    readonly url: string;
    readonly address: string;
    readonly state: 'up' | 'doubtful' | 'unreachable' | 'unhealthy' | 'ejected';
    readonly requests: number;
    readonly connect_failures: number;
    readonly failures: number;
    readonly ejected_for_ms: number;
  }[];
}

/** Everything the admin and observe ports need. */
export interface AdminDependencies {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly version: string;
  /** `name` of the configuration. */
  readonly application: string | undefined;
  readonly startedAtMs: number;
  /** Host names beside the loopback ones and the listener's own address under which the admin port may be called. */
  readonly hostNames: readonly string[];
  readonly operators: OperatorCheck;
  /** Which token families are the tenant's. Undefined without `postgres`, as the next two. */
  readonly ownedFamilies?: ((tenant: string, familyIds: readonly string[]) => Promise<readonly string[]>) | undefined;
  readonly operatorStore?: OperatorStore | undefined;
  readonly auditDesk?: AuditDesk | undefined;
  readonly clients?: ClientDesk | undefined;
  /** Takes an event of every change; without `postgres` it writes the log line only. */
  readonly audit: AuditTrail;
  /** Answers of creations by Idempotency-Key; of this replica only without `postgres`. */
  readonly idempotency: IdempotentAnswers;
  readonly tokens: TokenDesk;
  readonly revocations: RevocationDesk;
  readonly limits: LimitDesk;
  /** Undefined without `postgres`, as the next. */
  readonly upkeep?: UpkeepDesk | undefined;
  readonly signingKeys?: SigningKeyDesk | undefined;
  readonly dataKeys?: DataKeyDesk | undefined;
  /** Undefined without `proxy.endpoints.oauth`. */
  readonly grants?: GrantDesk | undefined;
  readonly decisions: DecisionStore;
  readonly config: ConfigDesk;
  explain(question: Question): Promise<Explanation>;
  /** Begins the drain, or joins the one under way; resolves when nothing is in flight any more. */
  drain(): Promise<void>;
  readiness(): ReadinessFacts;
  routes(): readonly RouteRow[];
  upstreams(): readonly UpstreamRow[] | Promise<readonly UpstreamRow[]>;
  /** Figures for /v1/status, such as streams open and tokens remembered; never names or ids. */
  counts(): Readonly<Record<string, number>>;
  /** Called before every scrape, to set gauges that are read rather than counted. */
  beforeScrape(): void;
  /** The text of a scrape, where it is more than this process' registry. */
  metricsText?: (() => Promise<string>) | undefined;
  /** How many tokens that other processes of this replica remember the revocation would refuse; of one tenant when it is given. */
  refusedElsewhere?: ((draft: RevocationDraft, tenant?: string) => Promise<number>) | undefined;
}
