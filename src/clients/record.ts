// What a client record is made of when it is new: ids, defaults, and which of its parts belong together. What each part may
// hold is metadata.ts and redirect-uri.ts; the shape itself stands with its store (stores/contracts/clients.ts).
import { randomId } from '../core/ids.ts';
import type { AuthMethod, ClientProperties, GrantType, NewClient } from '../stores/contracts/clients.ts';

/** What somebody asks a client to be; everything else has a default. */
export type ClientDraft = { readonly [K in keyof ClientProperties]?: ClientProperties[K] | undefined } & {
  readonly name: string;
};

/** Id of a client of ours: `c_` and 22 base64url characters (128 bits). */
export const newClientId = (): string => `c_${randomId()}`;

/** The properties that a draft stands for; says nothing of whether they hold. */
export function propertiesOf(draft: ClientDraft): ClientProperties {
  const authMethod: AuthMethod = draft.authMethod ?? (draft.type === 'public' ? 'none' : 'client_secret_basic');
  const grantTypes: readonly GrantType[] = draft.grantTypes ?? ['client_credentials'];
  return {
    type: authMethod === 'none' ? 'public' : 'confidential',
    grantTypes,
    responseTypes: grantTypes.includes('authorization_code') ? ['code'] : [],
    authMethod,
    jwks: undefined,
    jwksUri: undefined,
    redirectUris: [],
    scopes: [],
    tier: undefined,
    limits: {},
    tenant: undefined,
    audience: [],
    disabled: false,
    ...definedOnly(draft),
  };
}

const definedOnly = (draft: ClientDraft) =>
  Object.fromEntries(Object.entries(draft).filter(([, value]) => value !== undefined)) as Partial<ClientProperties> &
    Pick<ClientProperties, 'name'>;

/** A client of one of our own issuers, not stored yet; its secrets are the caller's to add. */
export function ownClient(
  issuer: string,
  properties: ClientProperties,
  origin: Pick<NewClient, 'registeredBy' | 'registrationTokenDigest' | 'secrets'> & { readonly clientId?: string },
  nowMs: number,
): NewClient {
  const { clientId = newClientId(), ...rest } = origin;
  return { issuer, clientId, external: false, ...properties, ...rest, createdAtMs: nowMs };
}

/** What we know of a client of a foreign issuer: no secret, no grant. */
export function externalClient(
  issuer: string,
  clientId: string,
  known: Pick<ClientProperties, 'name' | 'tier' | 'limits' | 'tenant' | 'disabled'>,
  nowMs: number,
): NewClient {
  return {
    ...propertiesOf({ ...known, type: 'public', authMethod: 'none', grantTypes: [] }),
    issuer,
    clientId,
    external: true,
    registeredBy: 'operator',
    registrationTokenDigest: undefined,
    secrets: [],
    createdAtMs: nowMs,
  };
}
