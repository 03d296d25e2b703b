// What pages show of a sidecar.yaml is loaded by the program: a fragment on top of the smallest file, with the files and variables
// that it names.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { parse, parseDocument, visit } from 'yaml';
import { parseConfig } from '../../src/config/load.ts';
import { testAuthority } from '../support/certificates.ts';
import { SMALLEST, temporaryFolder } from '../support/config-text.ts';
import { parsePage, readPages } from './pages.ts';

const authority = testAuthority();
after(() => authority[Symbol.dispose]());
const issued = authority.issue('app', 'DNS:app.example.com,DNS:*.example.com', 'serverAuth');

/** A piece of a sidecar.yaml in a page. */
interface Piece {
  readonly place: string;
  readonly text: string;
}

/** The `yaml` blocks; of a page that shows choices of the same setting, a line each, every line. */
function blocksOf(name: string, text: string): Piece[] {
  return [...text.matchAll(/^```yaml(?: .*)?\n([\s\S]*?)^```$/gm)].flatMap(({ 1: body = '', index }) => {
    const line = text.slice(0, index).split('\n').length;
    const isChoice = /^(\w+):.*\n\1:/m.test(body);
    const pieces = isChoice ? body.trim().split('\n') : [body];
    return pieces.map((piece) => ({ place: `${name}:${line}`, text: piece }));
  });
}

type Tree = { [key: string]: unknown };
const isTree = (value: unknown): value is Tree => typeof value === 'object' && value !== null && !Array.isArray(value);

/** `above` on top of `below`, map by map. */
function merged(below: Tree, above: Tree): Tree {
  const out = { ...below };
  for (const [key, value] of Object.entries(above)) {
    const before = out[key];
    out[key] = isTree(value) && isTree(before) ? merged(before, value) : value;
  }
  return out;
}

/** Loads the piece as a reader would who adds it to a file; throws as the program does. */
function load({ text }: Piece): void {
  using folder = temporaryFolder();
  const document = parseDocument(text);
  const env: Record<string, string> = {};
  visit(document, {
    Map(_, map) {
      const [file, variable] = [map.get('file'), map.get('env')];
      if (typeof file === 'string') folder.write(file, contentOf(file));
      if (typeof variable === 'string')
        env[variable] = variable.endsWith('_URL') ? 'redis://redis.example:6379' : 'word';
    },
  });
  const added = parse(text) as Tree;
  // Replicas that share a Redis need a name; nothing in a fragment about Redis would say so.
  const base = merged(parse(SMALLEST) as Tree, 'version' in added ? {} : { name: 'shop' });
  const bytes = Buffer.from(JSON.stringify('version' in added ? added : merged(base, added)));
  parseConfig({ bytes, file: folder.path('sidecar.yaml'), env });
}

/** PEM by the ending of the name that a page gives a file. */
function contentOf(file: string): string {
  if (file.endsWith('.key')) return issued.key;
  assert.match(file, /\.pem$/, `what is in ${file}?`);
  return /\bca\.pem$/.test(file) ? authority.certificate : issued.certificate;
}

const pages = readPages();

test('every block of settings that a page shows is taken by the program', () => {
  const pieces = pages.flatMap(({ name, text }) => blocksOf(name, text));
  assert.ok(pieces.length > 8, `only ${pieces.length} pieces are seen`);
  for (const piece of pieces) assert.doesNotThrow(() => load(piece), `${piece.place}\n${piece.text}`);
});

test('a piece that the program refuses is found: an unknown setting, a value that is none, a combination that cannot work', () => {
  const page = (yaml: string) => parsePage('planted.md', `# Planted\n\n\`\`\`yaml\n${yaml}\n\`\`\`\n`);
  const table: readonly (readonly [string, RegExp])[] = [
    ['tracing: {endpoint: "https://collector.example.com", share: 1}', /tracing\.share: is not a setting/],
    ['limits: {a: {key: ip, rate: 20}}', /limits\.a\.rate/],
    ['proxy: {tls: {certificates: [{certificate: {file: a.pem}, key: {file: a.pem}}]}}', /proxy\.tls/],
    ['routes: {a: {match: {prefix: /a}, issuers: [other]}}', /routes\.a\.issuers/],
  ];
  for (const [yaml, refused] of table) {
    const { name, text } = page(yaml);
    const [piece] = blocksOf(name, text);
    assert.equal(piece?.place, 'planted.md:3');
    assert.throws(() => load(piece as Piece), refused);
  }
});
