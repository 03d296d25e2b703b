// What pages name in passing, and nobody runs there, exists: commands with their options, npm scripts, files, settings. So do the
// commands that comments of shipped files and messages of ours name.
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { linesInProse, linesInText, refusalOf } from './command-lines.ts';
import { readPages } from './pages.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (file: string) => readFileSync(`${root}${file}`, 'utf8');
const pages = readPages();
const withoutBlocks = (text: string) => text.replace(/^```[\s\S]*?^```$/gm, '');
const codes = (text: string) => [...withoutBlocks(text).matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code);

test('the program takes every command of ours that a page names, or has in a block that nobody runs', () => {
  const found = pages.flatMap(({ name, text, blocks }) => {
    const unrun = blocks.filter(({ notRun }) => notRun !== undefined).flatMap((block) => linesInText(block.text));
    return [...linesInProse(text), ...unrun].map((line) => [name, line, refusalOf(line)]);
  });
  assert.ok(found.length > 100, `only ${found.length} commands are seen`);
  assert.deepEqual(
    found.filter(([, , why]) => why !== undefined),
    [],
  );
});

test('the program takes every command of ours that shipped files and messages name', () => {
  const files = globSync(['{config,deploy,examples}/**/*.*', 'src/{app,cli,config,core}/**/*.ts'], { cwd: root });
  const found = files.flatMap((file) => linesInText(read(file)).map((line) => [file, line, refusalOf(line)]));
  assert.ok(found.length > 40, `only ${found.length} commands are seen`);
  assert.deepEqual(
    found.filter(([, , why]) => why !== undefined),
    [],
  );
});

test('a command, a verb or an option that does not exist is found, and an abridged line is none', () => {
  const table: readonly (readonly [string, RegExp | undefined])[] = [
    ['revoke token - < leaked.txt', undefined],
    ['client set ID --tier paid', undefined],
    ['data-key status|rotate|reseal', undefined],
    ['migrate [--dry-run|--status]', undefined],
    ['why', undefined],
    ['revoke … --admin URL', undefined],
    ['client rename ID', /unknown command 'rename'/],
    ['data-key status|turn', /unknown command 'turn'/],
    ['check --strict', /unknown option '--strict'/],
    ['drain now', /too many arguments/],
  ];
  for (const [line, wanted] of table)
    if (wanted === undefined) assert.equal(refusalOf(line), undefined, line);
    else assert.match(refusalOf(line) ?? '', wanted, line);
  assert.deepEqual(linesInText('kubectl exec auth -- doorward operator add NAME --role admin # once'), [
    'operator add NAME --role admin ',
  ]);
});

test('every npm script and every file that a page names is there', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  for (const { name, text } of pages) {
    for (const [, script = ''] of text.matchAll(/\bnpm run (?:--silent )?([\w:]+)/g))
      assert.ok(Object.hasOwn(scripts, script), `${name}: npm run ${script}`);
    // What changed names what is gone, too.
    if (name === 'CHANGELOG.md') continue;
    const paths = codes(text).flatMap(
      (code) => code.match(/(?<=^|\s)(?:src|test|docs|deploy|config|examples)\/\S+/g) ?? [],
    );
    for (const path of paths.filter((one) => !/[*{<…]/.test(one)))
      assert.ok(existsSync(`${root}${path.replace(/[,.;]$/, '')}`), `${name}: ${path}`);
  }
});

test('.ci/run runs what CONTRIBUTING says it runs', () => {
  const [block] = pages.find(({ name }) => name === 'CONTRIBUTING.md')?.blocks ?? [];
  assert.match(block?.notRun ?? '', /^\.ci\/run runs it/);
  const lines = read('.ci/run').split('\n');
  for (const line of block?.text.split('\n') ?? []) {
    const command = line.split(/ {2,}/)[0] as string;
    assert.ok(
      lines.some((one) => one.startsWith(command)),
      command,
    );
  }
});

/** Settings and blocks as the reference has them: `[]` left out, `<name>` for a name that somebody chooses. */
const rows = [...read('docs/configuration.md').matchAll(/^\| `([\w.<>[\]]+)` \| (\S+)/gm)].map(
  ([, path = '', type]) => ({
    path: path.replaceAll('[]', ''),
    type,
  }),
);
const settings = rows.map(({ path, type }) => {
  const pattern = path.replaceAll('.', '\\.').replace(/<\w+>/g, '[\\w<>-]+');
  // Below a map are names of the reader's, unless it has rows of its own.
  const free = type === 'map' && !rows.some((row) => row.path.startsWith(`${path}.<`));
  return new RegExp(`^${pattern}${free ? '(?:\\..+)?' : type === 'map' ? '(?:\\.[\\w<>-]+)?' : ''}$`);
});
const isSetting = (path: string) => settings.some((pattern) => pattern.test(path));

test('every setting that a page names is one', () => {
  for (const good of ['sealing', 'limits.<name>', 'limits.per_ip.rate', 'routes.all.require.claims.org.unit'])
    assert.ok(isSetting(good), good);
  for (const bad of [
    'sealing.rotate_every',
    'proxy.tls.certificate',
    'limits.per_ip.burst',
    'routes.all.require.claim',
  ])
    assert.ok(!isSetting(bad), bad);
  const tops = new Set(rows.map(({ path }) => path.split('.')[0]));
  // Files of state_dir and types of events look alike.
  const others = new Set(['admin.sock', 'admin.token', ...codes(read('docs/audit-events.md'))]);
  for (const { name, text } of pages)
    for (const code of codes(text)) {
      const [path = ''] = code.split(':');
      if (!/^[a-z_]+(?:\.[\w<>]+)+$/.test(path) || others.has(path) || !tops.has(path.split('.')[0])) continue;
      assert.ok(isSetting(path), `${name}: ${code}`);
    }
});

test('the ACL line of docs/redis.md is the one that the tests of Redis and of a Cluster give their user', () => {
  const line = (text: string, end: string) => text.split('ACL SETUSER doorward ')[1]?.split(end)[0];
  const words = (text = '') => text.replaceAll('//', ' ').split(/\s+/).filter(Boolean);
  const tried = words(line(read('src/stores/redis/backend.ts'), '\nimport'));
  assert.ok(tried.length > 40);
  assert.deepEqual(words(line(read('docs/redis.md'), '```')), tried);
});
