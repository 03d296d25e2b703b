// Single settings of a file that need not hold as a whole, for commands that must work beside a broken or half-written
// sidecar.yaml, and without the secrets that it names.
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

/** The tree of a YAML file; undefined when it cannot be read or is no YAML. */
export function looseTree(file: string): unknown {
  try {
    return parse(readFileSync(file, 'utf8'), { logLevel: 'silent' });
  } catch {
    return undefined;
  }
}

/** What stands at a path of the tree; undefined when nothing does. */
export function valueAt(tree: unknown, path: readonly string[]): unknown {
  let at = tree;
  for (const name of path)
    at = typeof at === 'object' && at !== null ? (at as Record<string, unknown>)[name] : undefined;
  return at;
}

/** The text at a path of the tree; undefined when nothing or something else stands there. */
export function textAt(tree: unknown, path: readonly string[]): string | undefined {
  const value = valueAt(tree, path);
  return typeof value === 'string' ? value : undefined;
}
