// What the durable table of clients guarantees. A client is known by the pair (issuer, client id), where the issuer is the
// exact `iss`: two issuers' "billing" never meet, and names of issuer blocks may differ between replicas.
import type { Rate } from '../../core/units.ts';

/** Grants a client may ask with. There is neither password nor implicit (RFC 9700 2.1.2, 2.4). */
export const grantTypes = ['client_credentials', 'authorization_code', 'refresh_token'] as const;

/** One of {@link grantTypes}. */
export type GrantType = (typeof grantTypes)[number];

/** How a client proves itself at the token endpoint (RFC 7591 section 2, OpenID Connect Core section 9). */
export const authMethods = ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'] as const;

/** One of {@link authMethods}; `none` for public clients only. */
export type AuthMethod = (typeof authMethods)[number];

/** A secret as it is kept: never itself. */
export interface ClientSecret {
  readonly id: string;
  /** SHA-256, hex. */
  readonly digest: string;
  /** First characters, by which a leaked one is recognised. */
  readonly prefix: string;
  readonly createdAtMs: number;
  /** Undefined: until it is removed. */
  readonly expiresAtMs: number | undefined;
  readonly lastUsedAtMs: number | undefined;
}

/** What may be changed of a client; `undefined` means that there is none. */
export interface ClientProperties {
  /** For people; not unique. */
  readonly name: string;
  readonly type: 'confidential' | 'public';
  readonly grantTypes: readonly GrantType[];
  readonly responseTypes: readonly 'code'[];
  readonly authMethod: AuthMethod;
  /** Public keys for `private_key_jwt`; never together with `jwksUri`. */
  readonly jwks: { readonly keys: readonly Readonly<Record<string, unknown>>[] } | undefined;
  readonly jwksUri: string | undefined;
  /** Compared byte for byte. */
  readonly redirectUris: readonly string[];
  /** What it may ask for; its tier may narrow that further. */
  readonly scopes: readonly string[];
  readonly tier: string | undefined;
  /** Own rates by limit name; they win over the tier. */
  readonly limits: Readonly<Record<string, readonly Rate[]>>;
  readonly tenant: string | undefined;
  /** Audiences it may ask tokens for; empty means the issuer's own. */
  readonly audience: readonly string[];
  /** Every token of it is refused. */
  readonly disabled: boolean;
}

/** A client. */
export interface Client extends ClientProperties {
  /** Exact `iss` of the issuer whose client it is. */
  readonly issuer: string;
  readonly clientId: string;
  /** Of a foreign issuer: known for tier, limits and `disabled` alone, without secrets and grants. */
  readonly external: boolean;
  /** Who made it: an operator, or itself (RFC 7591). */
  readonly registeredBy: 'operator' | 'registration';
  /** SHA-256 of the token that manages the registration (RFC 7592), hex; undefined when there is none. */
  readonly registrationTokenDigest: string | undefined;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  /** Grows with every change, also over removal and new creation; secrets count as a change, their use does not. */
  readonly version: number;
  /** Oldest first; expired ones included, until a new one takes their place. */
  readonly secrets: readonly ClientSecret[];
}

/** A client to add, with at most two secrets. */
export type NewClient = Omit<Client, 'version' | 'updatedAtMs'>;

/** Which clients are wanted; members are joined by and. */
export interface ClientFilter {
  readonly issuer?: string;
  readonly tier?: string;
  readonly tenant?: string;
  readonly disabled?: boolean;
  readonly name?: string;
}

/** A place in the list, which is ordered newest first. */
export interface ClientPlace {
  readonly createdAtMs: number;
  readonly issuer: string;
  readonly clientId: string;
}

/** What replicas need to be told of a client; `removed` ends what an earlier one said. */
export interface ClientNotice {
  readonly issuer: string;
  readonly clientId: string;
  readonly version: number;
  readonly tier: string | undefined;
  readonly limits: Readonly<Record<string, readonly Rate[]>>;
  readonly disabled: boolean;
  readonly removed: boolean;
  readonly changedAtMs: number;
}

/** Most secrets that may be live at once: the old one and the new one of a rotation. */
export const MAX_SECRETS = 2;

/** A client by its key. */
export type ClientKey = Pick<ClientPlace, 'issuer' | 'clientId'>;

/**
 * The clients of one tenant, as if there were no others: those of other tenants, and of none, are not found. What is made is
 * the tenant's, and stays it: `forbidden` for properties that name another tenant, and for adding a client of a foreign
 * issuer, whose ids are nobody's to claim. Tier and limits stay as they are, and are none of a new one. `put` changes only; it
 * rejects with `not_found` where there is none.
 */
export interface TenantClients
  extends Pick<
    ClientStore,
    'add' | 'put' | 'get' | 'find' | 'page' | 'update' | 'remove' | 'addSecret' | 'removeSecret'
  > {
  /** Which of these are the tenant's, removed ones included. */
  owned(keys: readonly ClientKey[]): Promise<readonly ClientKey[]>;
}

/**
 * The clients of all replicas. Every method rejects with `store_unavailable` when the database does not answer. Reads see
 * every change acknowledged before, on whichever replica; of changes at once that expect the same version one wins.
 */
export interface ClientStore {
  within(tenant: string): TenantClients;
  /** Undefined, with nothing changed, when there is a client of this issuer and id. */
  add(client: NewClient): Promise<Client | undefined>;
  /** Adds it, or replaces the properties of the one that is there; for external records. */
  put(client: NewClient, nowMs: number): Promise<Client>;
  get(issuer: string, clientId: string): Promise<Client | undefined>;
  /** The clients of this id, of whatever issuers; at most 10. */
  find(clientId: string): Promise<readonly Client[]>;
  /** Newest first, after the place. */
  page(filter: ClientFilter, after: ClientPlace | undefined, limit: number): Promise<readonly Client[]>;
  /** `stale` when the version is another than expected; nothing is changed then. Without one the last write wins. */
  update(
    issuer: string,
    clientId: string,
    properties: ClientProperties,
    change: { readonly nowMs: number; readonly expectedVersion?: number },
  ): Promise<Client | 'missing' | 'stale'>;
  /** Its secrets go with it; the notice of its removal stays. Answers what it was. */
  remove(
    issuer: string,
    clientId: string,
    change: { readonly nowMs: number; readonly expectedVersion?: number },
  ): Promise<Client | 'missing' | 'stale'>;
  /** Expired secrets give way. `full` when {@link MAX_SECRETS} are live. */
  addSecret(
    issuer: string,
    clientId: string,
    secret: ClientSecret,
    nowMs: number,
  ): Promise<Client | 'missing' | 'full'>;
  removeSecret(issuer: string, clientId: string, secretId: string, nowMs: number): Promise<Client | 'missing'>;
  /** Notes the use of a secret; a later moment wins. */
  secretUsed(secretId: string, atMs: number): Promise<void>;
  /** The client whose registration this token manages. */
  findByRegistrationToken(tokenDigest: string): Promise<Client | undefined>;
  /** Another token from now on, or none. The version stays. False when there is no such client. */
  setRegistrationToken(issuer: string, clientId: string, tokenDigest: string | undefined): Promise<boolean>;
  /** Changes made at or before `changedBeforeMs` that replicas were not told of yet, oldest first. */
  unpublished(changedBeforeMs: number, limit: number): Promise<readonly ClientNotice[]>;
  /** Replicas were told of this version; nothing happens when there is a later one. */
  published(notice: Pick<ClientNotice, 'issuer' | 'clientId' | 'version'>): Promise<void>;
  /** What is to be told of one client now; undefined when there never was one. */
  notice(issuer: string, clientId: string): Promise<ClientNotice | undefined>;
  /** What changed after this moment, oldest first. Clocks of replicas differ: ask for a while longer than seems needed. */
  changedSince(changedAfterMs: number, limit: number): Promise<readonly ClientNotice[]>;
  /** All notices in the order of issuer and id, those of removal included, for telling everything anew. */
  notices(
    after: { readonly issuer: string; readonly clientId: string } | undefined,
    limit: number,
  ): Promise<readonly ClientNotice[]>;
}
