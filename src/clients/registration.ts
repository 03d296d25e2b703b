// Dynamic registration as plain functions (RFC 7591, RFC 7592): metadata of a request to a client record and back. What a
// client registers by itself is bounded here: no tier, tenant, limits, disabled flag, audience or scopes beyond those of the
// default tier, whatever the request says. HTTP and tokens of the endpoint are identity's.
import { addressMatcher, readAddress } from '../core/address.ts';
import { SidecarError } from '../core/errors.ts';
import { isJsonObject } from '../core/strict-json.ts';
import {
  authMethods,
  type Client,
  type ClientProperties,
  type GrantType,
  grantTypes,
} from '../stores/contracts/clients.ts';
import { type KnownNames, propertyProblems } from './properties.ts';
import { propertiesOf } from './record.ts';
import { registrableScopes } from './scopes.ts';

/** The error codes of RFC 7591 3.2.2 that we use. */
export type RegistrationErrorCode = 'invalid_redirect_uri' | 'invalid_client_metadata';

/** Metadata that is refused; `code` and the message (which quotes nothing) are for the answer. */
export class RegistrationRefused extends SidecarError {
  readonly code: RegistrationErrorCode;

  constructor(code: RegistrationErrorCode, message: string) {
    super('malformed', 'fields_invalid', message);
    this.code = code;
  }
}

const refused = (message: string) => new RegistrationRefused('invalid_client_metadata', message);

/**
 * The properties that a registration asks for. Metadata that we do not know are ignored (RFC 7591 2), those of an operator
 * (`tier`, `tenant`, `disabled` …) too: they are not metadata of a client. Without `scope` it gets all scopes of the default
 * tier but `introspect`, and without a default tier none. Throws {@link RegistrationRefused}.
 */
export function readRegistration(metadata: Metadata, known: KnownNames): ClientProperties {
  const offered = registrableScopes(known);
  return checked(registeredProperties(metadata, { offered, unsaid: offered }), known);
}

/**
 * A client after an update of RFC 7592 2.2, which names all of its metadata anew; what operators decided stays, and so do
 * scopes that they allowed beyond the default tier. Throws {@link RegistrationRefused}.
 */
export function readRegistrationUpdate(metadata: Metadata, client: Client, known: KnownNames): ClientProperties {
  if (metadata.client_id !== client.clientId) throw refused('client_id needs to be that of the client');
  for (const issued of ISSUED) if (metadata[issued] !== undefined) throw refused(`${issued} must not be sent`);
  const offered = [...client.scopes, ...registrableScopes(known)];
  const asked = registeredProperties(metadata, { offered, unsaid: client.scopes });
  if (asked.type !== client.type) throw refused('a confidential client cannot become public, nor the other way round');
  // It would have no way in any more: an update makes no secret.
  if (usesSecret(asked) && !usesSecret(client))
    throw refused('token_endpoint_auth_method needs a secret: register anew');
  const { tier, limits, tenant, audience, disabled } = client;
  return checked({ ...asked, tier, limits, tenant, audience, disabled }, known);
}

const usesSecret = ({ authMethod }: Pick<ClientProperties, 'authMethod'>) => authMethod.startsWith('client_secret_');

type Metadata = Readonly<Record<string, unknown>>;

/** Members of our answers that must not come back (RFC 7592 2.2). */
const ISSUED = [
  'registration_access_token',
  'registration_client_uri',
  'client_secret_expires_at',
  'client_id_issued_at',
] as const;

function checked(properties: ClientProperties, known: KnownNames): ClientProperties {
  if (properties.jwksUri !== undefined && !isPublicHttps(properties.jwksUri)) {
    throw refused('jwks_uri needs an https URL of a public host');
  }
  const [problem] = propertyProblems(properties, known);
  if (problem !== undefined) throw metadataProblem(problem);
  return properties;
}

interface Scopes {
  readonly offered: readonly string[];
  /** For a request that names none. */
  readonly unsaid: readonly string[];
}

function registeredProperties(metadata: Metadata, scopes: Scopes): ClientProperties {
  if (metadata.jwks !== undefined && metadata.jwks_uri !== undefined) {
    throw refused('jwks and jwks_uri exclude each other');
  }
  const authMethod = oneOf(metadata, 'token_endpoint_auth_method', authMethods) ?? 'client_secret_basic';
  const grants = listOf(metadata, 'grant_types') ?? ['authorization_code'];
  if (!grants.every(isGrant)) throw refused('grant_types names a grant that there is not');
  const responses = listOf(metadata, 'response_types');
  if (responses?.some((type) => type !== 'code')) throw refused('response_types allows code only');
  const withKeys = authMethod === 'private_key_jwt';
  return propertiesOf({
    name: textOf(metadata, 'client_name') ?? 'registered client',
    type: authMethod === 'none' ? 'public' : 'confidential',
    authMethod,
    grantTypes: grants,
    responseTypes: responses as readonly 'code'[] | undefined,
    redirectUris: listOf(metadata, 'redirect_uris') ?? [],
    jwks: withKeys ? jwksOf(metadata) : undefined,
    jwksUri: withKeys ? textOf(metadata, 'jwks_uri') : undefined,
    scopes: scopesOf(metadata, scopes),
  });
}

/** What is asked beyond what is offered is refused, not dropped. */
function scopesOf(metadata: Metadata, { offered, unsaid }: Scopes): readonly string[] {
  const asked = textOf(metadata, 'scope');
  if (asked === undefined) return unsaid;
  const scopes = [...new Set(asked.split(' ').filter((scope) => scope !== ''))];
  if (scopes.some((scope) => !offered.includes(scope))) throw refused('scope asks for more than a client may have');
  return scopes;
}

/** The client as RFC 7591 3.2.1 answers it; secrets and tokens are added by whoever made them. */
export function registrationMetadata(client: Client): Readonly<Record<string, unknown>> {
  return {
    client_id: client.clientId,
    client_id_issued_at: Math.floor(client.createdAtMs / 1000),
    client_name: client.name,
    token_endpoint_auth_method: client.authMethod,
    grant_types: client.grantTypes,
    response_types: client.responseTypes,
    ...(client.redirectUris.length === 0 ? {} : { redirect_uris: client.redirectUris }),
    ...(client.jwks === undefined ? {} : { jwks: client.jwks }),
    ...(client.jwksUri === undefined ? {} : { jwks_uri: client.jwksUri }),
    scope: client.scopes.join(' '),
  };
}

const isGrant = (text: string): text is GrantType => (grantTypes as readonly string[]).includes(text);

function metadataProblem({ path, problem }: { readonly path: string; readonly problem: string }): RegistrationRefused {
  const redirect = path.startsWith('redirect_uris');
  return new RegistrationRefused(redirect ? 'invalid_redirect_uri' : 'invalid_client_metadata', `${path} ${problem}`);
}

function textOf(metadata: Metadata, name: string): string | undefined {
  const value = metadata[name];
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || value === '') throw refused(`${name} needs to be a string`);
  return value;
}

function listOf(metadata: Metadata, name: string): readonly string[] | undefined {
  const value = metadata[name];
  if (value === undefined) return undefined;
  if (Array.isArray(value) && value.every((one) => typeof one === 'string')) return value;
  const code = name === 'redirect_uris' ? 'invalid_redirect_uri' : 'invalid_client_metadata';
  throw new RegistrationRefused(code, `${name} needs to be a list of strings`);
}

function oneOf<T extends string>(metadata: Metadata, name: string, allowed: readonly T[]): T | undefined {
  const value = textOf(metadata, name);
  if (value === undefined) return undefined;
  if (!(allowed as readonly string[]).includes(value))
    throw refused(`${name} needs to be one of ${allowed.join(', ')}`);
  return value as T;
}

function jwksOf({ jwks }: Metadata): ClientProperties['jwks'] {
  if (jwks === undefined) return undefined;
  if (!isJsonObject(jwks) || !Array.isArray(jwks.keys) || !jwks.keys.every(isJsonObject))
    throw refused('jwks is no key set');
  return { keys: jwks.keys };
}

const PRIVATE_NETWORKS = addressMatcher([
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.0.0.0/24'],
  ...['192.168.0.0/16', '198.18.0.0/15', '224.0.0.0/3', 'fc00::/7', 'fe80::/9', 'ff00::/8'],
  // With an IPv4 address inside: compatible, translated (NAT64, SIIT), 6to4, Teredo.
  ...['::/96', '64:ff9b::/96', '64:ff9b:1::/48', '::ffff:0:0:0/96', '2002::/16', '2001::/32'],
]);

/** True for an address that strangers may not have us call (attack 124: metadata services, neighbours, ourselves). */
export const isPrivateAddress = (address: string): boolean =>
  readAddress(address) === undefined || PRIVATE_NETWORKS(address);

/** True for an https URL that does not name a private address or local name; what its name resolves to shows at the fetch. */
export function isPublicHttps(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || url.protocol !== 'https:') return false;
  const host = url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
  if (readAddress(host) !== undefined) return !isPrivateAddress(host);
  return host.includes('.') && !/(?:^|\.)(?:localhost|local|internal|lan|home\.arpa)$/.test(host);
}
