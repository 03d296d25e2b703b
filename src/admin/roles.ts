// What operators may be allowed: a closed list of permissions, and roles as named sets of them. A test holds the table of
// endpoints against the list.
import type { OperatorRole } from '../stores/contracts/operators.ts';

/** Nouns of permissions; each with `:read` and `:write`. */
export const permissionRooms = [
  'tokens',
  'revocations',
  'limits',
  'config',
  'drain',
  'explain',
  'decisions',
  'status',
  'clients',
  'grants',
  'keys',
  'data-keys',
  'operators',
  'audit',
  'statistics',
  'cleanup',
  'users',
  'sessions',
  'devices',
  'providers',
  'lcts',
  'ledger',
] as const;

/** Every permission there is, `*` for all of them. */
export const permissionNames: readonly string[] = [
  '*',
  ...permissionRooms.flatMap((room) => [`${room}:read`, `${room}:write`]),
];

const EDITED = ['tokens', 'revocations', 'limits', 'clients', 'grants', 'users', 'sessions', 'devices'];
const READS = permissionRooms.map((room) => `${room}:read`);

/** The roles: `viewer` reads, `editor` does the daily work, `admin` may do everything. */
export const roles: Readonly<Record<OperatorRole, readonly string[]>> = {
  viewer: READS,
  editor: [...READS, ...EDITED.map((room) => `${room}:write`)],
  admin: ['*'],
};

/** What a role and single permissions allow together. */
export function permissionsOf(role: OperatorRole | undefined, permissions: readonly string[]): readonly string[] {
  return role === undefined ? permissions : [...new Set([...roles[role], ...permissions])];
}

/** True when `held` allows everything of `wanted`. */
export function covers(held: readonly string[], wanted: readonly string[]): boolean {
  return held.includes('*') || wanted.every((permission) => held.includes(permission));
}
