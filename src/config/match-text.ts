// A route's `match` on one line, for the tables that people read.
import type { RouteConfig } from './schema.ts';

/**
 * `GET,POST prefix app.example.com/orders`: the methods (`*` for any), then the word that the file uses, so that a prefix and one
 * exact path never look alike, then hosts and path.
 */
export function matchText({ prefix, path, hosts, methods }: RouteConfig['match']): string {
  const kind = path === undefined ? 'prefix' : 'path';
  return `${methods?.join(',') ?? '*'} ${kind} ${hosts?.join(',') ?? ''}${path ?? prefix ?? ''}`;
}
