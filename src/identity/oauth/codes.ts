// Minting authorization codes for an application that has authenticated the person itself. Called through the admin API; the
// code goes back to the client's redirect URI and is redeemed at the token endpoint.
import { matchesRedirectUri } from '../../clients/redirect-uri.ts';
import { digest, isCanonicalBase64url } from '../../core/encoding.ts';
import { randomSecret } from '../../core/ids.ts';
import type { Client, ClientStore } from '../../stores/contracts/clients.ts';
import type { Grants } from '../../stores/contracts/grants.ts';
import type { OAuthDependencies, OAuthSettings } from './dependencies.ts';
import { codePlace, type PersonContent, sealedBytes } from './refresh-token.ts';

/** What the application asks for. */
export interface CodeRequest {
  readonly clientId: string;
  readonly redirectUri: string;
  readonly subject: string;
  /** Default: all that the client may have. */
  readonly scopes?: readonly string[] | undefined;
  /** PKCE, S256. */
  readonly codeChallenge: string;
  readonly session?: string | undefined;
  /** Default: the client's; a client of a tenant has codes of that one only. */
  readonly tenant?: string | undefined;
  /** Default: the client's, else the issuer's. */
  readonly audience?: readonly string[] | undefined;
  readonly person: PersonContent;
}

/** A field that does not hold; named as the admin API spells it. */
export interface CodeProblem {
  readonly path: string;
  readonly problem: string;
}

/** A code to hand on. */
export interface MintedCode {
  /** Shown nowhere else. */
  readonly code: string;
  readonly expiresAtMs: number;
  readonly scopes: readonly string[];
  readonly tenant: string | undefined;
}

/** What minting rests on; stores of one tenant will do. */
export interface CodeParts extends Pick<OAuthDependencies, 'clock' | 'sealer'> {
  readonly clients: Pick<ClientStore, 'get'>;
  readonly grants: Pick<Grants, 'putCode'>;
}

/** Mints a code, or says what is wrong with the request. Rejects with `store_unavailable`. */
export async function mintCode(
  request: CodeRequest,
  parts: CodeParts,
  settings: OAuthSettings,
): Promise<MintedCode | { readonly problems: readonly CodeProblem[] }> {
  const client = await parts.clients.get(settings.issuer, request.clientId);
  if (client === undefined || client.external) return { problems: [{ path: 'client_id', problem: 'is no client' }] };
  const scopes = request.scopes ?? settings.scopesOf(client);
  const audience = request.audience ?? audienceOf(client, settings);
  const problems = [...problemsOf(request, client, scopes, settings), ...audienceProblems(audience, client, settings)];
  if (problems.length > 0) return { problems };
  const code = `dwc_${randomSecret()}`;
  const codeDigest = digest(code);
  const nowMs = parts.clock.nowMs();
  const expiresAtMs = nowMs + settings.codeLifetimeMs;
  const tenant = client.tenant ?? request.tenant;
  await parts.grants.putCode({
    ...{ issuer: settings.issuer, client: client.clientId, subject: request.subject },
    ...{ session: request.session, tenant, scopes, audience },
    ...{ codeDigest, redirectUri: request.redirectUri, codeChallenge: request.codeChallenge },
    createdAtMs: nowMs,
    expiresAtMs,
    sealed: await parts.sealer.seal(codePlace(codeDigest), sealedBytes(request.person)),
  });
  return { code, expiresAtMs, scopes, tenant };
}

/** Audiences of the client's tokens unless it asks for fewer. */
export const audienceOf = (client: Client, settings: OAuthSettings): readonly string[] =>
  client.audience.length > 0 ? client.audience : settings.audience;

function problemsOf(
  request: CodeRequest,
  client: Client,
  scopes: readonly string[],
  settings: OAuthSettings,
): readonly CodeProblem[] {
  const allowed = settings.scopesOf(client);
  const isForeign = client.tenant !== undefined && (request.tenant ?? client.tenant) !== client.tenant;
  const table: readonly (readonly [boolean, string, string])[] = [
    [client.disabled, 'client_id', 'is disabled'],
    [!client.grantTypes.includes('authorization_code'), 'client_id', 'may not use authorization_code'],
    [!matchesRedirectUri(client, request.redirectUri), 'redirect_uri', 'is none of the client'],
    [scopes.some((scope) => !allowed.includes(scope)), 'scopes', 'has one that the client may not have'],
    [isForeign, 'tenant', 'is not that of the client'],
    [!isS256(request.codeChallenge), 'code_challenge', 'needs an S256 challenge: 43 base64url characters'],
  ];
  return table.flatMap(([wrong, path, problem]) => (wrong ? [{ path, problem }] : []));
}

function audienceProblems(
  audience: readonly string[],
  client: Client,
  settings: OAuthSettings,
): readonly CodeProblem[] {
  const allowed = audienceOf(client, settings);
  const wrong = audience.some((one) => !allowed.includes(one));
  return wrong ? [{ path: 'audience', problem: 'has one that the client may not ask for' }] : [];
}

const isS256 = (challenge: string) => challenge.length === 43 && isCanonicalBase64url(challenge);
