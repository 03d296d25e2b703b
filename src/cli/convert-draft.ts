// What a conversion makes: a sidecar.yaml that grows, and the list of what it could not say. Nothing of the source is dropped in
// silence: settings that no mapping took are listed too, under the path they had.
import { Document, isCollection, isMap, visit } from 'yaml';
import { formatPath, type Path } from '../config/places.ts';
import { identityHeaders } from '../config/schema-identity.ts';

/** A setting that is not in the result. */
export interface LeftOut {
  /** Where it stood, as the source writes it. */
  readonly path: string;
  readonly why: string;
  /** It kept somebody out: without it more is let through than before. */
  readonly opens: boolean;
}

/** A block of sidecar.yaml. */
export type Block = Record<string, unknown>;

/** The source, whose settings are taken one by one. */
export class SourceTree {
  readonly #root: unknown;
  readonly #taken = new Set<string>();

  constructor(root: unknown) {
    this.#root = root;
  }

  /** The value there, undefined when there is none. Its setting counts as converted from now on. */
  take(path: Path): unknown {
    this.#taken.add(formatPath(path));
    return this.look(path);
  }

  /** The value there, without taking it. */
  look(path: Path): unknown {
    let value = this.#root;
    for (const step of path) value = (value as Record<string | number, unknown> | undefined | null)?.[step];
    return value ?? undefined;
  }

  /** The elements of a list as paths; none where there is no list. */
  elements(path: Path): Path[] {
    const list = this.look(path);
    return Array.isArray(list) ? list.map((_, index) => [...path, index]) : [];
  }

  /** The names of a map; none where there is no map. */
  names(path: Path): string[] {
    const map = this.look(path);
    return typeof map === 'object' && map !== null && !Array.isArray(map) ? Object.keys(map) : [];
  }

  /** Settings that nobody took, each as high up as nothing below it was taken. */
  untouched(path: Path = []): { readonly path: string; readonly value: unknown }[] {
    const text = formatPath(path);
    if (this.#taken.has(text)) return [];
    const below = [...this.names(path).map((name) => [...path, name]), ...this.elements(path)];
    const isInUse =
      path.length === 0 ||
      [...this.#taken].some((taken) => /^[.[]/.test(taken.slice(text.length)) && taken.startsWith(text));
    if (isInUse) return below.flatMap((child) => this.untouched(child));
    return [{ path: text, value: this.look(path) }];
  }
}

/** The result as it grows. */
export class Draft {
  readonly tree: Block = { version: 1 };
  readonly leftOut: LeftOut[] = [];
  readonly #notes: string[] = [];

  /** Something that the result cannot say. */
  leave(path: Path | string, why: string, opens = false): void {
    this.leftOut.push({ path: typeof path === 'string' ? path : formatPath(path), why, opens });
  }

  /** Something the reader should know that needs nothing done: Doorward does it by default, or in another way. */
  note(text: string): void {
    this.#notes.push(text);
  }

  /** sidecar.yaml as text, with everything that was left out as comments before it, what opens something first. */
  text(origin: string): string {
    const lines = (wanted: boolean) =>
      this.leftOut.filter(({ opens }) => opens === wanted).map(({ path, why }) => `${path}: ${why}`);
    const comments = [
      `Made from ${origin} by \`doorward convert\`. \`doorward check\` prints the routes: read them before you trust them.`,
      ...section('NOT CONVERTED, AND IT KEPT SOMEBODY OUT:', lines(true)),
      ...section('Not converted:', lines(false)),
      ...section('Good to know:', this.#notes),
    ];
    // A line break in the source must not end the comment.
    const commented = comments.map((line) => `# ${line.replace(/[\r\n\u0085\u2028\u2029]+/g, ' ')}`.trimEnd());
    return `${commented.join('\n')}\n${yamlOf(this.tree)}`;
  }
}

const ORDER = ['version', 'proxy', 'observe', 'upstreams', 'issuers', 'routes', 'identity_headers'];

/** One line for each setting of a named block, as people write the file. */
function yamlOf(tree: Block): string {
  const document = new Document(Object.fromEntries(ORDER.filter((key) => key in tree).map((key) => [key, tree[key]])), {
    aliasDuplicateObjects: false,
  });
  visit(document, {
    Collection: (_, node, ancestors) => {
      if (isCollection(node) && ancestors.filter(isMap).length >= 3 && JSON.stringify(node).length < 110)
        node.flow = true;
    },
  });
  return document.toString({ lineWidth: 120, flowCollectionPadding: false });
}

const section = (title: string, lines: readonly string[]) =>
  lines.length === 0 ? [] : ['', title, ...lines.map((line) => `- ${line}`)];

/** What applications are told by default; a configuration that adds a header has to repeat them. */
export const IDENTITY_HEADERS: Readonly<Block> = identityHeaders.parse(undefined);

/** Makes names that sidecar.yaml takes ([a-z][a-z0-9_]*) from texts: one for each key, by default the text, no two alike. */
export function namer(fallback: string): (text: string, key?: string) => string {
  const given = new Map<string, string>();
  return (text, key = text) => {
    const known = given.get(key);
    if (known !== undefined) return known;
    const plain =
      text
        .toLowerCase()
        .replace(/[^a-z0-9]+/g, '_')
        .replace(/^[^a-z]+|_+$/g, '') || fallback;
    const taken = new Set(given.values());
    let name = plain;
    for (let number = 2; taken.has(name); number += 1) name = `${plain}_${number}`;
    given.set(key, name);
    return name;
  };
}

/** A duration of protobuf ("15s", "0.25s", {seconds: 15}) or of Go ("1m30s", "500ms") as sidecar.yaml writes it; undefined for what is none. */
export function durationOf(value: unknown): string | undefined {
  if (typeof value === 'object' && value !== null)
    return durationOf(`${(value as { seconds?: unknown }).seconds ?? 0}s`);
  const parts = [...String(value ?? '').matchAll(/(\d+(?:\.\d+)?)(ms|h|m|s)/g)];
  if (parts.length === 0 || parts.map(([text]) => text).join('') !== value) return undefined;
  const unit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  const ms = Math.round(
    parts.reduce((sum, [, amount, name]) => sum + Number(amount) * unit[name as keyof typeof unit], 0),
  );
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}
