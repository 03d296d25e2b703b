// Prints the effective configuration as YAML that loads again to the same configuration. Secrets written as {value} are
// masked; {env} and {file} references are no secrets and stay (attack 129).
import { Document, isMap, isScalar, isSeq, type Node, visit } from 'yaml';
import type { LoadedConfig } from './loaded.ts';
import { formatPath, formatSource, type Path, type Source } from './places.ts';
import { sidecarSchema } from './schema.ts';
import { secretReferences } from './secrets.ts';
import { type Tree, valueAt } from './tree.ts';

/** The whole configuration with every default; `withSources` adds to each value where it came from. */
export function printConfig(loaded: LoadedConfig, { withSources = false } = {}): string {
  const tree = structuredClone(loaded.effective) as Tree;
  for (const [path, reference] of secretReferences(tree, sidecarSchema)) {
    if ('value' in reference) (valueAt(tree, path) as Tree).value = '[secret]';
  }
  const document = new Document(tree);
  visit(document, {
    Seq: (_, node) => {
      if (node.items.every(isScalar)) node.flow = true;
    },
  });
  if (withSources) annotate(document.contents, [], loaded.sources);
  return document.toString({ lineWidth: 0 });
}

function annotate(node: Node | null, path: Path, sources: ReadonlyMap<string, Source>): void {
  const isBlock = isMap(node) || (isSeq(node) && !node.flow);
  const source = sources.get(formatPath(path));
  if (node && source && !isBlock) node.comment = ` ${formatSource(source)}`;
  if (isMap(node)) {
    for (const { key, value } of node.items) {
      if (isScalar(key)) annotate(value as Node | null, [...path, String(key.value)], sources);
    }
  }
  if (isSeq(node) && !node.flow) {
    for (const [index, item] of node.items.entries()) annotate(item as Node, [...path, index], sources);
  }
}
