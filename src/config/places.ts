// Where in the configuration something stands: paths, their spelling, and the origin of every value. document.ts and
// environment.ts record origins, problem.ts and the source column of printConfig read them.

/** Steps from the root: mapping keys and list positions. */
export type Path = readonly (string | number)[];

/** A place in a file; line and column count from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** Where a value was given; `key` is the place of its mapping key, when it has one. */
export type Origin =
  | { readonly kind: 'file'; readonly key: Position | undefined; readonly value: Position }
  | { readonly kind: 'env'; readonly variable: string };

/** Where an effective value comes from; `inheritedFrom` names the default's path when a route took it from `defaults`. */
export type Source = (
  | { readonly kind: 'default' }
  | { readonly kind: 'file'; readonly file: string; readonly line: number; readonly column: number }
  | { readonly kind: 'env'; readonly variable: string }
) & { readonly inheritedFrom?: string };

const PLAIN = /^[A-Za-z_][A-Za-z0-9_-]*$/;

/** `routes.api.limits[0]`; keys of other characters stand as `["…"]`, so that two paths never read alike. */
export function formatPath(path: Path): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else if (PLAIN.test(step)) text += text === '' ? step : `.${step}`;
    else text += `[${JSON.stringify(step)}]`;
  }
  return text;
}

/** `sidecar.yaml:3:5`, the name of an environment variable, or `default`; with `(from defaults.x)` when inherited. */
export function formatSource(source: Source): string {
  const inherited = source.inheritedFrom === undefined ? '' : ` (from ${source.inheritedFrom})`;
  if (source.kind === 'default') return `default${inherited}`;
  if (source.kind === 'env') return `${source.variable}${inherited}`;
  return `${source.file}:${source.line}:${source.column}${inherited}`;
}

/** Origins of the values that the file and the environment gave, by path. */
export class Origins {
  readonly #byPath = new Map<string, Origin>();

  /** The origin of exactly this path; undefined when only a default stands there. */
  get(path: Path): Origin | undefined {
    return this.#byPath.get(formatPath(path));
  }

  /** Records (or replaces) the origin of a path. */
  set(path: Path, origin: Origin): void {
    this.#byPath.set(formatPath(path), origin);
  }

  /** The origin of the path or of its nearest ancestor that has one: where a missing setting should have stood. */
  nearest(path: Path): { readonly origin: Origin; readonly exact: boolean } | undefined {
    for (let length = path.length; length >= 0; length--) {
      const origin = this.get(path.slice(0, length));
      if (origin) return { origin, exact: length === path.length };
    }
    return undefined;
  }
}
