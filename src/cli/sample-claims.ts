// Where a sample token has its client, roles, scopes and tenant, compared with where we look by default.

type Claims = Readonly<Record<string, unknown>>;
type ClaimPath = readonly string[];

interface Word {
  readonly setting: 'client' | 'roles' | 'scopes' | 'tenant';
  /** Where we look without being told. */
  readonly defaults: readonly ClaimPath[];
  /** Where the issuers that people use put it. */
  readonly elsewhere: readonly ClaimPath[];
}

const words: readonly Word[] = [
  { setting: 'client', defaults: [['client_id'], ['azp']], elsewhere: [['cid'], ['appid'], ['clientId']] },
  {
    setting: 'roles',
    defaults: [['roles']],
    elsewhere: [['realm_access', 'roles'], ['cognito:groups'], ['groups'], ['permissions'], ['role']],
  },
  { setting: 'scopes', defaults: [['scope'], ['scp']], elsewhere: [['scopes'], ['permissions']] },
  { setting: 'tenant', defaults: [['tenant']], elsewhere: [['org_id'], ['tid'], ['tenant_id'], ['organization']] },
];

/** The `claims` block that finds the words of this token; empty when the defaults do. Adds a note for each word. */
export function claimsBlock(claims: Claims, notes: string[]): { claims?: Record<string, unknown> } {
  const block: Record<string, unknown> = {};
  for (const { setting, defaults, elsewhere } of words) {
    if (defaults.some((path) => isPresent(claims, path))) continue;
    const found = elsewhere.find((path) => isPresent(claims, path));
    if (found === undefined) notes.push(`no claim holds the ${setting}`);
    else {
      block[setting] = found.length === 1 ? found[0] : found;
      notes.push(`${setting} is in ${found.join('.')}`);
    }
  }
  return Object.keys(block).length === 0 ? {} : { claims: block };
}

function isPresent(claims: Claims, path: ClaimPath): boolean {
  let at: unknown = claims;
  for (const name of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return false;
    at = (at as Claims)[name];
  }
  return typeof at === 'string' || Array.isArray(at);
}

/** exp - iat in ms; undefined when either is missing. */
export function lifetimeMs({ exp, iat }: Claims): number | undefined {
  return typeof exp === 'number' && typeof iat === 'number' ? Math.ceil(exp - iat) * 1000 : undefined;
}
