// The properties of a client on a command line and in a file, as the fields of the admin API.
import type { Command } from 'commander';
import { parse } from 'yaml';
import type { AdminOptions } from './admin-client.ts';
import { CliError } from './exit-codes.ts';
import { readText } from './terminal.ts';

/** Options that say what a client is. */
export interface PropertyOptions extends AdminOptions {
  readonly issuer?: string;
  readonly grant?: readonly string[];
  readonly scope?: readonly string[];
  readonly redirectUri?: readonly string[];
  readonly authMethod?: string;
  readonly public?: boolean;
  readonly jwks?: string;
  readonly jwksUri?: string;
  readonly tier?: string;
  readonly tenant?: string;
  readonly audience?: readonly string[];
  readonly limit?: readonly string[];
}

/** Adds {@link PropertyOptions}. */
export function withProperties(command: Command): Command {
  return command
    .option('--issuer <name>', 'issuer block of the client (default: our only one)')
    .option('--grant <grants...>', 'client_credentials, authorization_code, refresh_token')
    .option('--scope <scopes...>', 'scopes it may ask for')
    .option('--redirect-uri <uris...>', 'redirect URIs, compared byte for byte')
    .option('--auth-method <method>', 'client_secret_basic, client_secret_post, private_key_jwt or none')
    .option('--public', 'a client that cannot keep a secret: same as --auth-method none')
    .option('--jwks <file>', 'public keys for private_key_jwt, as a JWKS file')
    .option('--jwks-uri <url>', 'where they are to be had')
    .option('--tier <tier>', "tier for limits and scopes; '' takes it away")
    .option('--tenant <tenant>', "tenant of its tokens; '' takes it away")
    .option('--audience <audiences...>', 'audiences it may ask tokens for')
    .option('--limit <name=rate...>', 'own rates, such as per_client=500/1h; several of one name are joined');
}

/** Fields of a body; only what was said. */
export function fieldsOf(options: PropertyOptions): Record<string, unknown> {
  const { grant, scope, redirectUri, authMethod, jwks, jwksUri, tier, tenant, audience, limit } = options;
  const fields = {
    grant_types: grant,
    scopes: scope,
    redirect_uris: redirectUri,
    token_endpoint_auth_method: authMethod ?? (options.public ? 'none' : undefined),
    jwks: jwks === undefined ? undefined : readDocument(jwks),
    jwks_uri: jwksUri,
    tier: tier === '' ? null : tier,
    tenant: tenant === '' ? null : tenant,
    audience,
    limits: limit && limitsOf(limit),
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function limitsOf(given: readonly string[]): Record<string, string[]> {
  const limits: Record<string, string[]> = {};
  for (const text of given) {
    const [, name, rate] = /^([a-z][a-z0-9_]*)=(\S+)$/.exec(text) ?? [];
    if (name === undefined || rate === undefined) throw new CliError('usage', `--limit ${text}: needs name=rate`);
    limits[name] = [...(limits[name] ?? []), rate];
  }
  return limits;
}

function readDocument(file: string): unknown {
  try {
    return parse(readText(file), { maxAliasCount: 0 });
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    throw new CliError('usage', `${file} is neither JSON nor YAML`, { cause });
  }
}

/** What the API decides or shows beside the properties; `client export` leaves them out. */
const DERIVED = [
  'external',
  'response_types',
  'type',
  'registered_by',
  'created_at',
  'updated_at',
  'version',
  'secrets',
  'applied',
] as const;

/** A client as `client apply` takes it: without what is derived, and without what is empty. */
export function exported(client: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const derived: ReadonlySet<string> = new Set(client.external === true ? [...DERIVED, ...NOT_EXTERNAL] : DERIVED);
  return Object.fromEntries(Object.entries(client).filter(([name, value]) => !derived.has(name) && !isEmpty(value)));
}

const NOT_EXTERNAL = ['grant_types', 'token_endpoint_auth_method'] as const;

const isEmpty = (value: unknown) =>
  value === null || value === false || (typeof value === 'object' && Object.keys(value as object).length === 0);

/** Fields in which what is wanted differs from what is there. */
export function differences(
  wanted: Readonly<Record<string, unknown>>,
  present: Readonly<Record<string, unknown>>,
): readonly string[] {
  return Object.keys(wanted).filter((name) => canonical(name, wanted[name]) !== canonical(name, present[name]));
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** One spelling: rates may be one text or a list, members in any order. */
function canonical(name: string, value: unknown): string {
  if (name !== 'limits' || !isObject(value)) return JSON.stringify(value ?? null);
  const rates = Object.entries(value).map(([limit, given]) => [limit, Array.isArray(given) ? given : [given]] as const);
  return JSON.stringify(rates.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
