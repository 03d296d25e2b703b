// Whose tokens oauth2-proxy takes: its provider, and the extra issuers for bearer tokens.
import { type Block, type Draft, namer, type SourceTree } from './convert-draft.ts';

/** Issuers of providers that know only one. */
const KNOWN: Readonly<Record<string, string>> = {
  google: 'https://accounts.google.com',
  gitlab: 'https://gitlab.com',
};

/** Names of issuer blocks, and the roles of which a caller needs one. */
export interface Authority {
  readonly issuers: readonly string[];
  readonly roles: readonly string[];
}

/** Takes them, and writes `issuers`. */
export function takeAuthority(source: SourceTree, draft: Draft): Authority {
  const nameOf = namer('issuer');
  const provider = String(source.take(['provider']) ?? 'google');
  const shared = sharedBlock(source, draft);
  const main = nameOf(provider);
  const blocks: Block = { [main]: providerBlock(source, draft, provider, shared) };
  for (const text of listAt(source, 'extra_jwt_issuers')) {
    const [issuer, audience] = splitLast(text, '=');
    blocks[nameOf(URL.parse(issuer)?.hostname ?? issuer)] = { issuer, audience: [audience], ...shared };
  }
  draft.tree.issuers = blocks;
  if (source.take(['skip_jwt_bearer_tokens']) !== true)
    draft.note(
      'bearer tokens were not taken before (skip_jwt_bearer_tokens), sessions of browsers were; here it is the other way round',
    );
  draft.note('access tokens count, ID tokens do not: clients have to send the former');
  const groups = listAt(source, 'allowed_groups', 'allowed_group');
  return { issuers: Object.keys(blocks), roles: groups };
}

function providerBlock(source: SourceTree, draft: Draft, provider: string, shared: Block): Block {
  const issuer = (source.take(['oidc_issuer_url']) as string | undefined) ?? KNOWN[provider];
  if (issuer === undefined)
    draft.leave('provider', `${provider} issues no tokens that can be verified here; put an issuer that does`);
  const client = source.take(['client_id']) as string | undefined;
  if (client === undefined)
    draft.leave('client_id', 'is not in the file; put the audience of your tokens instead of CHANGE-ME');
  const keys = source.take(['oidc_jwks_url']);
  const isDiscovered = source.take(['skip_oidc_discovery']) !== true;
  return {
    issuer: issuer ?? 'https://change-me.invalid',
    audience: [client ?? 'CHANGE-ME', ...listAt(source, 'oidc_extra_audiences')],
    ...(typeof keys === 'string' && !isDiscovered && { keys: { url: keys } }),
    ...shared,
  };
}

function sharedBlock(source: SourceTree, draft: Draft): Block {
  const groups = claimPath(source.take(['oidc_groups_claim']) ?? 'groups');
  const subject = claimPath(source.take(['user_id_claim']));
  const audiences = listAt(source, 'oidc_audience_claims');
  if (audiences.length > 1)
    draft.leave('oidc_audience_claims', 'one claim holds the audience here; see issuers.<name>.audience_claim');
  for (const claim of ['oidc_email_claim', 'insecure_oidc_allow_unverified_email'])
    if (source.take([claim]) !== undefined)
      draft.note(`${claim}: X-Forwarded-Email is the claim email; see identity_headers`);
  return {
    ...(audiences.length === 1 && audiences[0] !== 'aud' && { audience_claim: audiences[0] }),
    claims: { roles: groups, ...(subject !== undefined && { subject }) },
  };
}

/** Dots lead into claims there; a path is a list here. Names that are URLs have dots of their own. */
function claimPath(name: unknown): string | string[] | undefined {
  if (typeof name !== 'string') return undefined;
  return name.includes('.') && !name.includes('/') ? name.split('.') : name;
}

/** A setting that is a list, or one text. */
export function listAt(source: SourceTree, ...names: readonly string[]): string[] {
  return names
    .flatMap((name) => (source.take([name]) as string | string[] | undefined) ?? [])
    .filter((text) => text !== '');
}

function splitLast(text: string, separator: string): [string, string] {
  const at = text.lastIndexOf(separator);
  return at < 0 ? [text, 'CHANGE-ME'] : [text.slice(0, at), text.slice(at + separator.length)];
}
