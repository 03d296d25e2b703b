// Rows of the tables client and client_secret as the words of the contract, and back. Migration 0030.
import type { Rate } from '../../core/units.ts';
import type {
  AuthMethod,
  Client,
  ClientNotice,
  ClientProperties,
  ClientSecret,
  GrantType,
} from '../contracts/clients.ts';
import type { Sql } from './connection.ts';

/** A row of `client`. */
export interface ClientRow {
  readonly issuer: string;
  readonly client_id: string;
  readonly external: boolean;
  readonly name: string;
  readonly type: 'confidential' | 'public';
  readonly grant_types: GrantType[];
  readonly response_types: 'code'[];
  readonly auth_method: AuthMethod;
  readonly jwks: Client['jwks'] | null;
  readonly jwks_uri: string | null;
  readonly redirect_uris: string[];
  readonly scopes: string[];
  readonly tier: string | null;
  readonly limits: Readonly<Record<string, readonly { readonly limit: number; readonly window_ms: number }[]>>;
  readonly tenant: string | null;
  readonly audience: string[];
  readonly disabled: boolean;
  readonly registered_by: 'operator' | 'registration';
  readonly registration_token: string | null;
  readonly created_at: Date;
  readonly updated_at: Date;
  readonly version: number;
  readonly removed_at: Date | null;
}

/** A row of `client_secret`. */
export interface SecretRow {
  readonly id: string;
  readonly issuer: string;
  readonly client_id: string;
  readonly digest: string;
  readonly prefix: string;
  readonly created_at: Date;
  readonly expires_at: Date | null;
  readonly last_used_at: Date | null;
}

/** What every statement that writes properties sets. */
export function propertyColumns(sql: Sql, properties: ClientProperties) {
  return {
    name: properties.name,
    type: properties.type,
    grant_types: [...properties.grantTypes],
    response_types: [...properties.responseTypes],
    auth_method: properties.authMethod,
    jwks: properties.jwks === undefined ? null : sql.json(properties.jwks as never),
    jwks_uri: properties.jwksUri ?? null,
    redirect_uris: [...properties.redirectUris],
    scopes: [...properties.scopes],
    tier: properties.tier ?? null,
    limits: sql.json(limitsColumn(properties.limits) as never),
    tenant: properties.tenant ?? null,
    audience: [...properties.audience],
    disabled: properties.disabled,
  };
}

const limitsColumn = (limits: ClientProperties['limits']) =>
  Object.fromEntries(
    Object.entries(limits).map(([name, rates]) => [
      name,
      rates.map(({ limit, windowMs }) => ({ limit, window_ms: windowMs })),
    ]),
  );

/** `secrets` are those of all clients in question. */
export function clientOf(row: ClientRow, secrets: readonly SecretRow[]): Client {
  return {
    issuer: row.issuer,
    clientId: row.client_id,
    external: row.external,
    name: row.name,
    type: row.type,
    grantTypes: row.grant_types,
    responseTypes: row.response_types,
    authMethod: row.auth_method,
    jwks: row.jwks ?? undefined,
    jwksUri: row.jwks_uri ?? undefined,
    redirectUris: row.redirect_uris,
    scopes: row.scopes,
    tier: row.tier ?? undefined,
    limits: ratesOf(row.limits),
    tenant: row.tenant ?? undefined,
    audience: row.audience,
    disabled: row.disabled,
    registeredBy: row.registered_by,
    registrationTokenDigest: row.registration_token ?? undefined,
    createdAtMs: row.created_at.getTime(),
    updatedAtMs: row.updated_at.getTime(),
    version: row.version,
    secrets: secrets
      .filter((secret) => secret.issuer === row.issuer && secret.client_id === row.client_id)
      .map(secretOf),
  };
}

/** What replicas are told of a row. */
export function noticeOf(row: ClientRow): ClientNotice {
  return {
    issuer: row.issuer,
    clientId: row.client_id,
    version: row.version,
    tier: row.tier ?? undefined,
    limits: ratesOf(row.limits),
    disabled: row.disabled,
    removed: row.removed_at !== null,
    changedAtMs: row.updated_at.getTime(),
  };
}

const ratesOf = (limits: ClientRow['limits']): Readonly<Record<string, readonly Rate[]>> =>
  Object.fromEntries(
    Object.entries(limits).map(([name, rates]) => [
      name,
      rates.map(({ limit, window_ms: windowMs }) => ({ limit, windowMs })),
    ]),
  );

const secretOf = (row: SecretRow): ClientSecret => ({
  id: row.id,
  digest: row.digest,
  prefix: row.prefix,
  createdAtMs: row.created_at.getTime(),
  expiresAtMs: row.expires_at?.getTime(),
  lastUsedAtMs: row.last_used_at?.getTime(),
});
