// Leaves out of a tree what the schema has refused, so that cross-references can still be checked in the rest and an
// operator sees all problems at once instead of one round after the other.
import type { Path } from './places.ts';
import type { Finding } from './problem.ts';
import type { SidecarConfig, sidecarSchema } from './schema.ts';
import { isTree, type Tree, valueAt } from './tree.ts';

const BLOCKS = new Set(['upstreams', 'issuers', 'limits', 'routes', 'clients']);

/** The tree without its refused parts, parsed; undefined when nothing usable is left. */
export function withoutRefused(
  tree: Tree,
  findings: readonly Finding[],
  schema: typeof sidecarSchema,
): { readonly tree: Tree; readonly config: SidecarConfig } | undefined {
  const rest = structuredClone(tree);
  for (const { path } of findings) remove(rest, smallestPart(path));
  const first = parseRest(rest, schema);
  if (first.success) return { tree: rest, config: first.data };
  // What was cut out was needed by what is around it: the section goes.
  for (const { path } of first.error.issues) remove(rest, path.slice(0, 1) as Path);
  const second = parseRest(rest, schema);
  return second.success ? { tree: rest, config: second.data } : undefined;
}

function parseRest(rest: Tree, schema: typeof sidecarSchema) {
  rest.version = 1;
  for (const section of ['upstreams', 'routes']) rest[section] ??= {};
  return schema.safeParse(rest, { jitless: true });
}

const smallestPart = (path: Path): Path => (BLOCKS.has(String(path[0])) ? path.slice(0, 2) : path);

function remove(root: Tree, path: Path): void {
  const parent = valueAt(root, path.slice(0, -1));
  const last = path.at(-1);
  if (last === undefined) return;
  if (Array.isArray(parent)) parent.splice(Number(last), 1);
  else if (isTree(parent)) delete parent[last];
}
