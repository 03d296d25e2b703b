// What the tests of `doorward convert` share: its fixtures, and the routes of what came out.
import type { SidecarConfig } from '../../src/config/schema.ts';

/** Path of a configuration of another proxy. */
export const fixture = (name: string) => new URL(`../fixtures/convert/${name}`, import.meta.url).pathname;

/** The routes of a configuration in short. */
export function routesOf({ routes }: SidecarConfig) {
  return Object.values(routes).map(({ match, auth, issuers, upstream }) => [
    `${match.methods?.join(',') ?? '*'} ${match.path ?? `${match.prefix}…`}`,
    auth,
    issuers?.join(',') ?? '',
    upstream,
  ]);
}
