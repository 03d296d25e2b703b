// Writes docs/configuration.md: every setting of the schema as one row of a table.
import type { z } from 'zod';
import { sidecarSchema } from './schema.ts';
import { defaultOf, isOptional, isSecret, metaOf, type Shape, shapesOf } from './shape.ts';

/** One setting of the reference. `path` has `<name>` for names that people choose, `[]` for list elements. */
export interface ReferenceRow {
  readonly path: string;
  readonly type: string;
  readonly standard: string;
  readonly reload: string;
  readonly description: string;
}

/** All settings, parents before children, in the order of the schema. */
export function referenceRows(schema: z.ZodType = sidecarSchema, path = ''): ReferenceRow[] {
  const own = path === '' ? [] : describedRow(schema, path);
  if (isSecret(schema)) return own;
  return [...own, ...shapesOf(schema).flatMap((shape) => rowsBelow(shape, path))];
}

function describedRow(schema: z.ZodType, path: string): ReferenceRow[] {
  const { description, reload } = metaOf(schema);
  if (description === undefined) return [];
  return [{ path, type: typeOf(schema), standard: standardOf(schema), reload: reload ?? 'live', description }];
}

function rowsBelow(shape: Shape, path: string): ReferenceRow[] {
  if (shape.kind === 'record') return referenceRows(shape.value, `${path}.<name>`);
  if (shape.kind === 'list') return referenceRows(shape.element, `${path}[]`);
  if (shape.kind !== 'object') return [];
  const below = (key: string) => (path === '' ? key : `${path}.${key}`);
  return Object.entries(shape.fields).flatMap(([key, schema]) => referenceRows(schema, below(key)));
}

function standardOf(schema: z.ZodType): string {
  const standard = defaultOf(schema);
  if (standard === undefined) return isOptional(schema) ? '–' : 'required';
  return typeof standard === 'string' ? `\`${standard}\`` : `\`${JSON.stringify(standard)}\``;
}

const PATTERNS: readonly (readonly [RegExp, string])[] = [
  [/ms\|s\|m\|h\|d\)\$$/, 'duration'],
  [/KiB/, 'size'],
  [/\/\\d\+\(s\|m/, 'rate'],
  [/\\d\{4\}-/, 'date'],
];

function typeOf(schema: z.ZodType): string {
  if (isSecret(schema)) return 'secret';
  const shapes = shapesOf(schema);
  const words = shapes.flatMap((shape) => (shape.kind === 'scalar' ? (shape.words ?? []) : []));
  const others = shapes.filter((shape) => shape.kind !== 'scalar' || !shape.words).map(wordOf);
  return [...new Set([...words.map((word) => `\`${word}\``), ...others])].join(', ');
}

function wordOf(shape: Shape): string {
  if (shape.kind === 'record') return 'map';
  if (shape.kind === 'list') return `list of ${typeOf(shape.element).replace(/, list of .*/, '')}`;
  if (shape.kind === 'object') return 'block';
  const pattern = (metaOf(shape.schema) as { readonly pattern?: string }).pattern ?? '';
  if (shape.type === 'string') return PATTERNS.find(([known]) => known.test(pattern))?.[1] ?? 'text';
  return shape.type;
}

const INTRODUCTION = `# Configuration

<!-- Made by \`npm run schema\` from src/config/schema.ts; do not edit. -->

One file, \`sidecar.yaml\`. Unknown keys, wrong types and broken references are refused with file, line and column, all at
once. \`doorward check\` does that without starting anything.

- **duration**: \`250ms\`, \`30s\`, \`15m\`, \`24h\`, \`90d\`. **size**: \`16KiB\`, \`10MiB\`. **rate**: \`20/1m\`. Bare numbers are refused.
- **date**: \`2026-12-31\` (00:00 UTC of that day) or \`2026-12-31T18:00:00+01:00\`.
- **secret**: \`{env: NAME}\`, \`{file: path}\` or \`{value: "…"}\`; one that cannot be resolved, or is empty, refuses the start.
- Relative paths of secrets and \`keys.file\` start at the folder of the file.
- **Environment**: \`DOORWARD__PROXY__LISTEN\` sets \`proxy.listen\`: two underscores first and between levels, any single
  value; elements of lists by number (\`DOORWARD__PROXY__TRUSTED_PROXIES__0\`). It wins over the file. Other
  \`DOORWARD_…\` variables are ignored.
- **Reload**: \`live\` settings take effect when the file changes, on SIGHUP, or on request; \`restart\` settings keep their old
  value until a restart, and are named. A file that does not hold changes nothing.
- \`<name>\` stands for a name that you choose (\`[a-z][a-z0-9_]*\`), \`[]\` for an element of a list. \`–\` means: may be left out.

| setting | type | default | change | |
|---|---|---|---|---|
`;

/** The whole Markdown file. */
export function configurationReference(): string {
  const cell = (text: string) => text.replaceAll('|', '\\|');
  const rows = referenceRows().map((row) =>
    [`\`${row.path}\``, row.type, row.standard, row.reload, row.description].map(cell).join(' | '),
  );
  return `${INTRODUCTION}${rows.map((row) => `| ${row} |`).join('\n')}\n`;
}
