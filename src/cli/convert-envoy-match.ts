// Envoy's ways to say which requests: of a route, and of a rule of jwt_authn. Only what Doorward can say is read.
import { pathProblem } from '../config/checks/match.ts';
import type { Path } from '../config/places.ts';
import type { SourceTree } from './convert-draft.ts';

/** Requests by path and method. */
export interface Matcher {
  readonly kind: 'prefix' | 'path';
  readonly text: string;
  /** `path_separated_prefix`: whole segments, as prefixes are here. */
  readonly bySegment: boolean;
  readonly method: string | undefined;
}

/** Reads a `match`; a text says why it cannot be said. */
export function readMatcher(source: SourceTree, path: Path): Matcher | string {
  const take = (key: string) => source.take([...path, key]) as string | undefined;
  const others = source
    .names(path)
    .filter((key) => !['prefix', 'path', 'path_separated_prefix', 'headers', 'case_sensitive'].includes(key));
  if (others.length > 0) return `${others.join(', ')} cannot be said: routes match by prefix, path, host and method`;
  if (take('case_sensitive') === (false as unknown))
    return 'case_sensitive: false cannot be said: paths are compared exactly';
  const method = methodOf(source, [...path, 'headers']);
  if (method !== undefined && typeof method !== 'string') return method.why;
  const [exact, segments, prefix] = [take('path'), take('path_separated_prefix'), take('prefix')];
  if (/[{}]/.test(`${exact}${segments}${prefix}`))
    return 'braces in a path cannot be said: they stand for one segment here';
  const text = exact ?? segments ?? prefix;
  if (text === undefined || !text.startsWith('/')) return 'names no path that a route could have';
  const problem = pathProblem(text, exact === undefined ? 'prefix' : 'path');
  // Envoy takes `*` and the like as they are written, which was hardly meant.
  if (problem !== undefined) return `the path cannot be said: ${problem}`;
  if (exact !== undefined) return { kind: 'path', text, bySegment: true, method };
  return { kind: 'prefix', text, bySegment: segments !== undefined, method };
}

function methodOf(source: SourceTree, path: Path): string | undefined | { readonly why: string } {
  let method: string | undefined;
  for (const header of source.elements(path)) {
    const exact = source.take([...header, 'string_match', 'exact']) ?? source.take([...header, 'exact_match']);
    const isKnown = source.names(header).every((key) => ['name', 'string_match', 'exact_match'].includes(key));
    if (source.take([...header, 'name']) !== ':method' || typeof exact !== 'string' || !isKnown || method !== undefined)
      return { why: 'conditions on headers cannot be said, but for one :method' };
    method = exact;
  }
  return method;
}

/** Whether Envoy's matcher takes a request. */
export function takes(matcher: Matcher, path: string, method: string): boolean {
  if (matcher.method !== undefined && matcher.method !== method) return false;
  if (matcher.kind === 'path') return path === matcher.text;
  if (!path.startsWith(matcher.text)) return false;
  return (
    !matcher.bySegment ||
    path.length === matcher.text.length ||
    matcher.text.endsWith('/') ||
    path[matcher.text.length] === '/'
  );
}
