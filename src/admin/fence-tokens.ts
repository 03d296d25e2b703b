// Tokens for an operator of one tenant: those that our own issuers signed for the tenant are seen, the others are as good as
// unknown; those that are issued are the tenant's, for a client of its own, with no more than the client may have.
import { allowedScopes } from '../clients/scopes.ts';
import { SidecarError } from '../core/errors.ts';
import type { Principal } from '../core/principal.ts';
import type { AccessTokenRequest, Signer } from '../token/issue.ts';
import { clientDeskOf } from './client-lookup.ts';
import type { AdminDependencies, TokenDesk } from './dependencies.ts';
import { FieldsError } from './endpoint.ts';
import { tenantExceeded } from './tenant.ts';

/** What one call has found out about whose something is. */
export interface TenantProofs {
  /** True for an issuer of ours: what a foreign one calls a tenant may be somebody else. */
  isOurs(issuer: string): boolean;
  /** True for a token that our issuer signed for the tenant. */
  isOwn(principal: Principal): boolean;
  /** Tokens that the call has shown, by {@link tokenKey}. */
  readonly shownTokens: Set<string>;
}

/** Member of {@link TenantProofs.shownTokens}. */
export const tokenKey = (issuer: string, tokenId: string): string => JSON.stringify([issuer, tokenId]);

/** Nothing shown yet. */
export function proofsOf({ tokens }: AdminDependencies, tenant: string): TenantProofs {
  const issuers = tokens.issuers().filter(({ signer }) => signer !== undefined);
  const ours = new Set(issuers.map(({ issuer }) => issuer));
  return {
    isOurs: (issuer) => ours.has(issuer),
    isOwn: (principal) => principal.tenant === tenant && ours.has(principal.issuer),
    shownTokens: new Set(),
  };
}

/** The token desk of one tenant. */
export function fencedTokens(whole: AdminDependencies, tenant: string, proofs: TenantProofs): TokenDesk {
  const { tokens } = whole;
  return {
    issuers: () =>
      tokens
        .issuers()
        .map((one) =>
          one.signer === undefined ? one : { ...one, signer: fencedSigner(whole, tenant, one.issuer, one.signer) },
        ),
    async verify(token) {
      const principal = await tokens.verify(token);
      if (!proofs.isOwn(principal)) {
        throw new SidecarError('unauthenticated', 'tenant_exceeded', 'the token is not of the tenant');
      }
      proofs.shownTokens.add(tokenKey(principal.issuer, principal.tokenId));
      return principal;
    },
    isDisabled: (principal) => tokens.isDisabled(principal),
    countVerified: (matches) => tokens.countVerified((principal) => proofs.isOwn(principal) && matches(principal)),
  };
}

function fencedSigner(whole: AdminDependencies, tenant: string, issuer: string, signer: Signer): Signer {
  return {
    get keyId() {
      return signer.keyId;
    },
    publicJwks: () => signer.publicJwks(),
    issueIdToken: () => Promise.reject(tenantExceeded()),
    async issueAccessToken(request) {
      if ((request.tenant ?? tenant) !== tenant) throw tenantExceeded();
      await requireOwnClient(whole, tenant, issuer, request);
      return signer.issueAccessToken({ ...request, tenant });
    },
  };
}

async function requireOwnClient(
  whole: AdminDependencies,
  tenant: string,
  issuer: string,
  { client: clientId, scopes = [], audience }: AccessTokenRequest,
): Promise<void> {
  const desk = clientDeskOf(whole);
  const client = await desk.within(tenant).get(issuer, clientId);
  if (client === undefined || client.external) throw new FieldsError([{ path: 'client', problem: 'is no client' }]);
  const allowed = allowedScopes(client, desk.known());
  const table = [
    [client.disabled, 'client', 'is disabled'],
    [scopes.some((scope) => !allowed.includes(scope)), 'scopes', 'has one that the client may not have'],
    [audience?.some((one) => !client.audience.includes(one)), 'audience', 'has one that the client may not ask for'],
  ] as const;
  const problems = table.flatMap(([wrong, path, problem]) => (wrong === true ? [{ path, problem }] : []));
  if (problems.length > 0) throw new FieldsError(problems);
}
