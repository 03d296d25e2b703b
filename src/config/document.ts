// Reads the bytes of sidecar.yaml into a plain tree and remembers where every key and value stands. Strict: one YAML 1.2
// document, UTF-8 without BOM, text keys, no duplicates, no tags, aliases only as far as they stay small. Knows nothing of
// the settings; schema-problems.ts judges those.
import {
  Alias,
  type Document,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type ParsedNode,
  parseDocument,
} from 'yaml';
import { Origins, type Path, type Position } from './places.ts';
import type { Finding } from './problem.ts';
import type { Tree } from './tree.ts';
import { withoutCascades, yamlFinding } from './yaml-problems.ts';

/** A file as a tree; `tree` is undefined when the syntax is too broken to say anything about settings. */
export interface ConfigDocument {
  readonly tree: unknown;
  readonly origins: Origins;
  readonly findings: readonly Finding[];
}

const LARGEST_FILE = 1024 * 1024;
/** Values one file may expand to: aliases of aliases (a "billion laughs" bomb) end here. */
const MOST_VALUES = 50_000;
const DEEPEST = 32;
const BOM = '\uFEFF';

/** Parses the bytes of a configuration file. Never throws for what they hold. */
export function readDocument(bytes: Uint8Array): ConfigDocument {
  const refused = (message: string, position: Position = { line: 1, column: 1 }): ConfigDocument => ({
    tree: undefined,
    origins: new Origins(),
    findings: [{ path: [], message, position }],
  });
  if (bytes.length > LARGEST_FILE) return refused('is larger than 1MiB');
  const text = decode(bytes);
  if (typeof text !== 'string') return refused('is not UTF-8', text);
  if (text.startsWith(BOM)) return refused('starts with a byte order mark; save it as UTF-8 without BOM');
  try {
    return new Reader(text).read();
  } catch (error) {
    if (error instanceof RangeError) return refused('is nested too deeply');
    throw error;
  }
}

function decode(bytes: Uint8Array): string | Position {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  try {
    return decoder.decode(bytes);
  } catch {
    const lines = Buffer.from(bytes).toString('latin1').split('\n');
    const isBroken = (line: string) =>
      !Buffer.from(Buffer.from(line, 'latin1').toString('utf8')).equals(Buffer.from(line, 'latin1'));
    return { line: lines.findIndex(isBroken) + 1, column: 1 };
  }
}

class Reader {
  readonly #text: string;
  readonly #lines = new LineCounter();
  readonly #document: Document.Parsed<ParsedNode>;
  readonly #origins = new Origins();
  readonly #findings: Finding[] = [];
  readonly #open = new Set<Node>();
  #values = 0;

  constructor(text: string) {
    this.#text = text;
    this.#document = parseDocument(text, {
      lineCounter: this.#lines,
      prettyErrors: false,
      logLevel: 'error',
      version: '1.2',
    });
  }

  read(): ConfigDocument {
    const { errors, warnings, contents, directives } = this.#document;
    const at = (offset: number) => this.#position(offset);
    const told = withoutCascades(errors, contents?.range[1] ?? 0, (offset) => at(offset).line);
    for (const { code, pos } of [...told, ...warnings]) {
      const around = this.#text.slice(Math.max(0, pos[0] - 1), pos[0] + 1);
      this.#findings.push(yamlFinding(code, at(pos[0]), around));
    }
    if (directives?.yaml.version !== '1.2') this.#refuse([], 'is YAML 1.1; only YAML 1.2 is read', contents);
    const usable = errors.every((error) => error.code === 'DUPLICATE_KEY');
    const tree = usable && contents ? this.#value(contents, []) : undefined;
    if (usable && !isMap(contents)) this.#refuse([], 'needs to be a mapping of settings', contents);
    return { tree, origins: this.#origins, findings: this.#findings };
  }

  #position(offset: number): Position {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  }

  #refuse(path: Path, message: string, node: Node | null | undefined): undefined {
    this.#findings.push({ path, message, position: this.#position(node?.range?.[0] ?? 0) });
    return undefined;
  }

  #value(node: Node, path: Path, key?: Node): unknown {
    this.#origins.set(path, {
      kind: 'file',
      key: key && this.#position(key.range?.[0] ?? 0),
      value: this.#position(node.range?.[0] ?? 0),
    });
    this.#values += 1;
    if (this.#values === MOST_VALUES) this.#refuse(path, 'expands to too many values', node);
    if (this.#values >= MOST_VALUES) return undefined;
    if (path.length > DEEPEST) return this.#refuse(path, 'is nested too deeply', node);
    const target = node instanceof Alias ? node.resolve(this.#document) : node;
    if (!target) return this.#refuse(path, 'is an alias of nothing before it; quote text that starts with *', node);
    if (this.#open.has(target)) return this.#refuse(path, 'is an alias of something around it', node);
    this.#open.add(target);
    try {
      return this.#content(target, path);
    } finally {
      this.#open.delete(target);
    }
  }

  #content(node: Node, path: Path): unknown {
    if (isMap(node)) return this.#mapping(node.items as readonly MapItem[], path);
    if (isSeq(node)) return node.items.map((item, index) => this.#value(item as Node, [...path, index]));
    return isScalar(node) ? this.#scalar(node.value, node, path) : undefined;
  }

  #mapping(items: readonly MapItem[], path: Path): Tree {
    const tree: Tree = {};
    for (const { key, value } of items) {
      if (!isScalar(key) || typeof key.value !== 'string')
        this.#refuse(path, 'has a key that is not text; quote it', key);
      else if (key.value === '__proto__') this.#refuse(path, 'has the key __proto__, which is not allowed', key);
      else if (!Object.hasOwn(tree, key.value)) {
        const at = [...path, key.value];
        tree[key.value] = value ? this.#value(value, at, key) : this.#nothing(at, key);
      }
    }
    return tree;
  }

  #nothing(path: Path, key: Node): null {
    const position = this.#position(key.range?.[0] ?? 0);
    this.#origins.set(path, { kind: 'file', key: position, value: position });
    return null;
  }

  #scalar(value: unknown, node: Node, path: Path): unknown {
    if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)) {
      return this.#refuse(path, 'is a number above 2^53, which cannot be kept exactly', node);
    }
    if (typeof value === 'number' && !Number.isFinite(value)) return this.#refuse(path, 'needs a finite number', node);
    return value;
  }
}

interface MapItem {
  readonly key: Node;
  readonly value: Node | null;
}
