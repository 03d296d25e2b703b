// Clients as JSON: what operators send, and what they are shown. What a client may be is clients/properties.ts's.
import { z } from 'zod';
import { type ClientDraft, propertiesOf } from '../clients/record.ts';
import { parseDuration, parseRate, type Rate } from '../core/units.ts';
import {
  authMethods,
  type Client,
  type ClientProperties,
  type ClientSecret,
  grantTypes,
} from '../stores/contracts/clients.ts';
import { applied, count, time, timeOrNull } from './shapes.ts';

const rate = z
  .string()
  .refine((text) => parseRate(text) !== undefined, 'needs a rate such as 100/1h')
  .transform((text) => parseRate(text) as Rate);
const rates = z
  .union([rate, z.array(rate).min(1).max(10)], { error: 'needs a rate such as 100/1h, or a list of 1 to 10' })
  .transform((given) => (Array.isArray(given) ? given : [given]));
const words = z.array(z.string().max(2000)).max(100);

const fields = {
  name: z.string().max(200).optional(),
  type: z.enum(['confidential', 'public']).optional(),
  grant_types: z.array(z.enum(grantTypes)).max(3).optional(),
  token_endpoint_auth_method: z.enum(authMethods).optional(),
  jwks: z.strictObject({ keys: z.array(z.record(z.string(), z.unknown())).max(10) }).nullish(),
  jwks_uri: z.string().max(2000).nullish(),
  redirect_uris: words.optional(),
  scopes: words.optional(),
  tier: z.string().max(64).nullish(),
  limits: z.record(z.string(), rates).optional(),
  tenant: z.string().max(200).nullish(),
  audience: words.optional(),
  disabled: z.boolean().optional(),
};

/** A duration from now, such as `90d`. */
export const lifetime = z
  .string()
  .refine((text) => (parseDuration(text) ?? 0) >= 60_000, 'needs a duration of at least 1m, such as 90d');

/** Body of PUT and PATCH; null takes away. */
export const clientFields = z.strictObject(fields);

/** Body of POST. */
export const newClientFields = z.strictObject({
  ...fields,
  /** Name of an issuer block or its `iss`; default: our only issuer. */
  issuer: z.string().max(1024).optional(),
  /** Needed for clients of foreign issuers; default for ours: a random one. */
  client_id: z.string().max(255).optional(),
  secret_expires: lifetime.optional(),
});

/** `dry_run=true`: judge the call, and change nothing. */
export const dryRunQuery = { dry_run: z.enum(['true', 'false']).optional() };

/** What a call would do that came with `dry_run=true`. */
export const judgedShape = z.strictObject({
  dry_run: z.literal(true),
  issuer: z.string(),
  /** Null where a random one would be given. */
  client_id: z.string().nullable(),
  /** Fields that would change; empty when the client is so already. */
  changed: z.array(z.string()).optional(),
});

/** Fields that say something of a client of a foreign issuer. */
export const externalFields: ReadonlySet<string> = new Set(['name', 'tier', 'limits', 'tenant', 'disabled']);

type Fields = z.output<typeof clientFields>;

/** Members of the draft by the names of the fields. */
const members = {
  name: 'name',
  type: 'type',
  grant_types: 'grantTypes',
  token_endpoint_auth_method: 'authMethod',
  jwks: 'jwks',
  jwks_uri: 'jwksUri',
  redirect_uris: 'redirectUris',
  scopes: 'scopes',
  tier: 'tier',
  limits: 'limits',
  tenant: 'tenant',
  audience: 'audience',
  disabled: 'disabled',
} as const satisfies Record<keyof typeof fields, keyof ClientProperties>;

/** The fields as members of a draft; null becomes undefined. */
export function draftOf(given: Fields, name: string): ClientDraft {
  const entries = Object.entries(members).map(([field, member]) => [member, given[field as keyof Fields] ?? undefined]);
  return { ...(Object.fromEntries(entries) as ClientDraft), name: given.name ?? name };
}

/** The client with the fields that are given, and what follows from them: kind from the method, response types from grants. */
export function patched(client: Client, given: Fields): ClientProperties {
  const named = Object.entries(members).filter(([field]) => given[field as keyof Fields] !== undefined);
  const changes = Object.fromEntries(
    named.map(([field, member]) => [member, given[field as keyof Fields] ?? undefined]),
  );
  const { type, authMethod, responseTypes, ...kept } = { ...propertiesOnly(client), ...changes } as ClientProperties;
  if (given.type === undefined && given.token_endpoint_auth_method === undefined) {
    return propertiesOf({ ...kept, type, authMethod });
  }
  const method = given.token_endpoint_auth_method ?? (client.type === given.type ? authMethod : undefined);
  return propertiesOf({ ...kept, type: given.type, authMethod: method });
}

function propertiesOnly(client: Client): ClientProperties {
  const entries = [...Object.values(members), 'responseTypes' as const].map((member) => [member, client[member]]);
  return Object.fromEntries(entries) as unknown as ClientProperties;
}

/** Names of the fields in which the two differ. */
export function changedFields(before: ClientProperties, after: ClientProperties): readonly string[] {
  return Object.entries(members)
    .filter(([, member]) => JSON.stringify(before[member]) !== JSON.stringify(after[member]))
    .map(([field]) => field);
}

/** A secret as it is shown: by its id and first characters. */
export const secretShape = z.strictObject({
  id: z.string(),
  prefix: z.string(),
  created_at: time,
  expires_at: timeOrNull,
  last_used_at: timeOrNull,
});

/** A client as it is shown. */
export const clientShape = z.strictObject({
  client_id: z.string(),
  issuer: z.string(),
  external: z.boolean(),
  name: z.string(),
  type: z.enum(['confidential', 'public']),
  grant_types: z.array(z.enum(grantTypes)),
  response_types: z.array(z.literal('code')),
  token_endpoint_auth_method: z.enum(authMethods),
  jwks: z.strictObject({ keys: z.array(z.record(z.string(), z.unknown())) }).nullable(),
  jwks_uri: z.string().nullable(),
  redirect_uris: z.array(z.string()),
  scopes: z.array(z.string()),
  tier: z.string().nullable(),
  limits: z.record(z.string(), z.array(z.string())),
  tenant: z.string().nullable(),
  audience: z.array(z.string()),
  disabled: z.boolean(),
  registered_by: z.enum(['operator', 'registration']),
  created_at: time,
  updated_at: time,
  version: count,
  secrets: z.array(secretShape),
});

/** A client that was changed, and who knows of it. */
export const changedClientShape = clientShape.extend({ applied });

const timeOf = (ms: number) => new Date(ms).toISOString();
const timeIf = (ms: number | undefined) => (ms === undefined ? null : timeOf(ms));
/** `100/1h` and the like: the longest unit that divides the window. */
const rateText = ({ limit, windowMs }: Rate) => {
  const [unit, ms] = (
    [
      ['d', 86_400_000],
      ['h', 3_600_000],
      ['m', 60_000],
      ['s', 1000],
    ] as const
  ).find(([, length]) => windowMs % length === 0) ?? ['ms', 1];
  return `${limit}/${windowMs / ms}${unit}`;
};

/** A secret as others may see it: never its digest. */
export const shownSecret = ({ id, prefix, createdAtMs, expiresAtMs, lastUsedAtMs }: ClientSecret) => ({
  id,
  prefix,
  created_at: timeOf(createdAtMs),
  expires_at: timeIf(expiresAtMs),
  last_used_at: timeIf(lastUsedAtMs),
});

/** A client as others may see it. */
export function shownClient(client: Client): z.output<typeof clientShape> {
  return {
    client_id: client.clientId,
    issuer: client.issuer,
    external: client.external,
    name: client.name,
    type: client.type,
    grant_types: [...client.grantTypes],
    response_types: [...client.responseTypes],
    token_endpoint_auth_method: client.authMethod,
    jwks: client.jwks === undefined ? null : { keys: client.jwks.keys.map((key) => ({ ...key })) },
    jwks_uri: client.jwksUri ?? null,
    redirect_uris: [...client.redirectUris],
    scopes: [...client.scopes],
    tier: client.tier ?? null,
    limits: Object.fromEntries(Object.entries(client.limits).map(([name, list]) => [name, list.map(rateText)])),
    tenant: client.tenant ?? null,
    audience: [...client.audience],
    disabled: client.disabled,
    registered_by: client.registeredBy,
    created_at: timeOf(client.createdAtMs),
    updated_at: timeOf(client.updatedAtMs),
    version: client.version,
    secrets: client.secrets.map(shownSecret),
  };
}
