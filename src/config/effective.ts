// The effective configuration in the spelling of the file: every default filled in, routes completed from `defaults`, paths
// and hosts in their one normal form, and for every value where it came from. Parsing this tree again gives the same
// configuration, which is what printConfig and the tests rely on.
import type { z } from 'zod';
import { formatPath, type Origins, type Path, type Source } from './places.ts';
import { defaultOf, fieldNames, type Shape, schemaAt, shapesOf } from './shape.ts';
import { isTree, type Tree } from './tree.ts';

/** A complete tree and the source of every value in it, by formatted path. */
export interface Effective {
  readonly tree: Tree;
  readonly sources: ReadonlyMap<string, Source>;
}

/** Completes a merged tree that the schema has accepted. `file` names it in sources. */
export function completeTree(merged: Tree, origins: Origins, file: string, schema: z.ZodType): Effective {
  const sources = new Map<string, Source>();
  const tree = fill(merged, schema, [], { origins, file, sources }) as Tree;
  completeAlgorithms(tree, sources);
  for (const [name, route] of entries(tree.routes)) completeRoute(tree, name, route, sources);
  for (const section of ['issuers', 'routes']) {
    for (const [name, block] of entries(tree[section])) {
      (tree[section] as Tree)[name] = inSchemaOrder(block, schemaAt(schema, [section, name]));
    }
  }
  return { tree, sources };
}

interface Filling {
  readonly origins: Origins;
  readonly file: string;
  readonly sources: Map<string, Source>;
}

function fill(value: unknown, schema: z.ZodType, path: Path, filling: Filling): unknown {
  filling.sources.set(formatPath(path), sourceOf(path, filling));
  if (Array.isArray(value)) {
    const list = shapesOf(schema).find((shape) => shape.kind === 'list');
    return list ? value.map((item, index) => fill(item, list.element, [...path, index], filling)) : value;
  }
  if (!isTree(value)) return value;
  const shape = shapeOf(value, schema);
  if (shape?.kind === 'record') {
    return fromEntries(Object.keys(value).map((key) => [key, fill(value[key], shape.value, [...path, key], filling)]));
  }
  return shape?.kind === 'object' ? fillFields(value, shape.fields, path, filling) : value;
}

function fillFields(value: Tree, fields: Readonly<Record<string, z.ZodType>>, path: Path, filling: Filling): Tree {
  const filled: [string, unknown][] = [];
  for (const [key, schema] of Object.entries(fields)) {
    const given = Object.hasOwn(value, key) ? value[key] : defaultOf(schema);
    if (given !== undefined) filled.push([key, fill(given, schema, [...path, key], filling)]);
  }
  return fromEntries(filled);
}

/** What was completed stands where the schema has it, so that a print reads the same however a value came about. */
function inSchemaOrder(block: Tree, schema: z.ZodType | undefined): Tree {
  const fields = schema === undefined ? [] : fieldNames(schema);
  return fromEntries(fields.filter((key) => Object.hasOwn(block, key)).map((key) => [key, block[key]]));
}

/** The alternative that a mapping was written for: the one that knows all of its keys. */
function shapeOf(value: Tree, schema: z.ZodType): Shape | undefined {
  return shapesOf(schema).find(
    (shape) =>
      shape.kind === 'record' ||
      (shape.kind === 'object' && Object.keys(value).every((key) => Object.hasOwn(shape.fields, key))),
  );
}

function sourceOf(path: Path, { origins, file }: Filling): Source {
  const origin = origins.get(path);
  if (!origin) return { kind: 'default' };
  return origin.kind === 'env' ? origin : { kind: 'file', file, ...origin.value };
}

const fromEntries = (pairs: readonly (readonly [string, unknown])[]): Tree => Object.fromEntries(pairs);
const entries = (value: unknown): [string, Tree][] => Object.entries(isTree(value) ? value : {}) as [string, Tree][];

const INHERITED = ['limits', 'body_size', 'body_timeout', 'response_timeout', 'idle_timeout'] as const;

function completeRoute(tree: Tree, name: string, route: Tree, sources: Map<string, Source>): void {
  const defaults = tree.defaults as Tree;
  const path = formatPath(['routes', name]);
  for (const key of INHERITED) inherit(route, key, defaults[key], `${path}.${key}`, `defaults.${key}`, sources);
  if (route.auth !== 'none') completeIssuers(tree, route, path, sources);
  const upstreams = Object.keys(tree.upstreams as Tree);
  if (upstreams.length === 1)
    inherit(route, 'upstream', upstreams[0], `${path}.upstream`, `upstreams.${upstreams[0]}`, sources);
  normaliseMatch(route.match as Tree);
}

function completeIssuers(tree: Tree, route: Tree, path: string, sources: Map<string, Source>): void {
  const issuers = Object.keys(tree.issuers as Tree);
  inherit(route, 'issuers', (tree.defaults as Tree).issuers, `${path}.issuers`, 'defaults.issuers', sources);
  if (issuers.length === 1) inherit(route, 'issuers', issuers, `${path}.issuers`, `issuers.${issuers[0]}`, sources);
}

function inherit(
  block: Tree,
  key: string,
  value: unknown,
  path: string,
  from: string,
  sources: Map<string, Source>,
): void {
  if (block[key] !== undefined || value === undefined) return;
  block[key] = structuredClone(value);
  sources.set(path, { ...(sources.get(from) ?? { kind: 'default' }), inheritedFrom: from });
}

function normaliseMatch(match: Tree): void {
  if (typeof match.prefix === 'string' && match.prefix !== '/') match.prefix = match.prefix.replace(/\/$/, '');
  if (Array.isArray(match.hosts)) match.hosts = match.hosts.map((host) => String(host).toLowerCase());
}

/** What `sign.algorithm` may be. */
const OURS = ['ES256', 'RS256', 'EdDSA'];

/** `algorithms` of an issuer that names none: what its keys can be, never what a token asks for (RFC 8725 section 3.1). */
export function defaultAlgorithms(issuer: { readonly sign?: unknown; readonly keys?: unknown }): string[] {
  // Each of our own keys is for one algorithm; those of the one before are published until their last token has died.
  if (isTree(issuer.sign)) return issuer.sign.key === undefined ? OURS : [String(issuer.sign.algorithm)];
  return isTree(issuer.keys) && issuer.keys.secret !== undefined ? ['HS256'] : ['ES256', 'RS256', 'EdDSA'];
}

function completeAlgorithms(tree: Tree, sources: Map<string, Source>): void {
  for (const [name, issuer] of entries(tree.issuers)) {
    if (issuer.algorithms !== undefined) continue;
    issuer.algorithms = defaultAlgorithms(issuer);
    sources.set(`${formatPath(['issuers', name])}.algorithms`, { kind: 'default' });
  }
}
