// The house keeps its shape: who may import whom, no cycles, no barrels, one place for the clock and for the environment,
// files that stay readable, exports that say what they promise (design 2, style 5).
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { test } from 'node:test';
import ts from 'typescript';

const SRC = join(import.meta.dirname, '..', 'src');

/** Modules by folder; what each may import besides itself. `stores/*` are modules of their own. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  core: [],
  config: ['core'],
  telemetry: ['core'],
  token: ['core'],
  keys: ['core', 'stores/contracts'],
  http: ['core', 'telemetry'],
  audit: ['core', 'stores/contracts'],
  clients: ['core', 'token', 'stores/contracts'],
  limits: ['core', 'stores/contracts'],
  revocation: ['core', 'stores/contracts'],
  'stores/contracts': ['core'],
  'stores/memory': ['core', 'stores/contracts'],
  'stores/redis': ['core', 'stores/contracts'],
  'stores/postgres': ['core', 'stores/contracts'],
  proxy: ['core', 'http', 'token', 'limits', 'revocation', 'telemetry', 'stores/contracts'],
  identity: ['core', 'clients', 'http', 'token', 'limits', 'telemetry', 'stores/contracts'],
  admin: ['core', 'audit', 'clients', 'http', 'token', 'limits', 'revocation', 'telemetry', 'stores/contracts'],
  cli: ['core', 'audit', 'config', 'app', 'token', 'http', 'telemetry'],
  app: [
    'core',
    'config',
    'http',
    'telemetry',
    'token',
    'keys',
    'audit',
    'clients',
    'limits',
    'revocation',
    'stores/contracts',
    'stores/memory',
    'stores/redis',
    'stores/postgres',
    'proxy',
    'identity',
    'admin',
  ],
  main: ['cli'],
};
/** Types of the configuration may be named wherever a configuration is compiled. */
const mayNameConfigTypes = new Set([
  'token',
  'limits',
  'revocation',
  'proxy',
  'identity',
  'admin',
  'stores/redis',
  'http',
]);

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}

const files = globSync('**/*.ts', { cwd: SRC })
  .map((file) => normalize(file))
  .sort();
const sources = new Map(
  files.map((file) => [
    file,
    ts.createSourceFile(file, readFileSync(join(SRC, file), 'utf8'), ts.ScriptTarget.Latest, true),
  ]),
);

function moduleOf(file: string): string {
  const parts = file.split('/');
  if (parts.length === 1) return (parts[0] as string).replace('.ts', '');
  return parts[0] === 'stores' ? `stores/${parts[1]}` : (parts[0] as string);
}

function importsOf(file: string): readonly Import[] {
  const found: Import[] = [];
  const visit = (node: ts.Node): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier !== undefined) {
      const specifier = (node.moduleSpecifier as ts.StringLiteral).text;
      const named = ts.isImportDeclaration(node) ? node.importClause : undefined;
      const bindings = named?.namedBindings;
      const allTyped =
        bindings !== undefined &&
        ts.isNamedImports(bindings) &&
        named?.name === undefined &&
        bindings.elements.every((element) => element.isTypeOnly);
      const typeOnly = named?.isTypeOnly === true || allTyped || (ts.isExportDeclaration(node) && node.isTypeOnly);
      if (specifier.startsWith('.'))
        found.push({ from: file, to: normalize(join(dirname(file), specifier)), typeOnly });
    }
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const argument = node.arguments[0];
      if (argument !== undefined && ts.isStringLiteral(argument) && argument.text.startsWith('.')) {
        found.push({ from: file, to: normalize(join(dirname(file), argument.text)), typeOnly: false });
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(sources.get(file) as ts.SourceFile);
  return found;
}

const imports = files.flatMap(importsOf);

test('every import is an edge that the design allows', () => {
  const refused = imports.filter(({ from, to, typeOnly }) => {
    const [a, b] = [moduleOf(from), moduleOf(to)];
    if (a === b || allowed[a]?.includes(b)) return false;
    return !(b === 'config' && typeOnly && mayNameConfigTypes.has(a));
  });
  assert.deepEqual(
    refused.map(({ from, to }) => `${from} -> ${to}`),
    [],
  );
});

test('no import points at a file that is not there', () => {
  assert.deepEqual(
    imports.filter(({ to }) => to.endsWith('.ts') && !files.includes(to)).map(({ from, to }) => `${from} -> ${to}`),
    [],
  );
});

test('no cycle of imports that exist at run time between modules', () => {
  const edges = new Map<string, Set<string>>();
  for (const { from, to, typeOnly } of imports) {
    const [a, b] = [moduleOf(from), moduleOf(to)];
    if (!typeOnly && a !== b) edges.set(a, (edges.get(a) ?? new Set()).add(b));
  }
  const cycle = (at: string, path: readonly string[]): readonly string[] | undefined => {
    if (path.includes(at)) return [...path, at];
    for (const next of edges.get(at) ?? []) {
      const found = cycle(next, [...path, at]);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  for (const start of edges.keys()) assert.equal(cycle(start, []), undefined);
});

test('no barrel: a file declares something of its own', () => {
  const barrels = files.filter((file) =>
    (sources.get(file) as ts.SourceFile).statements.every(
      (statement) => ts.isExportDeclaration(statement) || ts.isImportDeclaration(statement),
    ),
  );
  assert.deepEqual(
    barrels,
    ['main.ts'].filter((file) => barrels.includes(file)),
  );
});

test('process.env is read in config and cli only, the wall clock in core/clock.ts only', () => {
  const offenders: string[] = [];
  for (const file of files) {
    const text = readFileSync(join(SRC, file), 'utf8').replace(/\/\/.*$|\/\*[\s\S]*?\*\//gm, '');
    if (/process\.env/.test(text) && !['config', 'cli', 'main'].includes(moduleOf(file)))
      offenders.push(`${file}: process.env`);
    if (/Date\.now\(/.test(text) && file !== 'core/clock.ts') offenders.push(`${file}: Date.now`);
  }
  assert.deepEqual(offenders, []);
});

test('no file is longer than 450 lines', () => {
  const long = files.filter((file) => readFileSync(join(SRC, file), 'utf8').split('\n').length > 450);
  assert.deepEqual(long, []);
});

test('every file says at its top what it owns', () => {
  const silent = files.filter((file) => !/^(?:#!.*\n)?\/\/ \S/.test(readFileSync(join(SRC, file), 'utf8')));
  assert.deepEqual(silent, []);
});

test('every exported declaration has a doc comment', () => {
  const undocumented: string[] = [];
  for (const [file, source] of sources) {
    for (const statement of source.statements) {
      const exported =
        ts.canHaveModifiers(statement) &&
        ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
      if (!exported || ts.isExportDeclaration(statement)) continue;
      const text = source.text.slice(statement.getFullStart(), statement.getStart(source));
      if (!text.includes('/**'))
        undocumented.push(`${relative('.', file)}: ${statement.getText(source).split('\n')[0]?.slice(0, 80)}`);
    }
  }
  assert.deepEqual(undocumented, []);
});

test('no name is called util, helper, manager, service, data, info, process, impl, common or misc', () => {
  const banned =
    /(?:^|\/|-)(?:utils?|helpers?|managers?|services?|data(?!-keys?)|info|process|impl|common|misc)(?:-|\.ts$|\/)/;
  assert.deepEqual(
    files.filter((file) => banned.test(file)),
    [],
  );
});
