// The OpenAPI document as a page for people: docs/api.md. Run by `npm run schema`; a test compares.
import { writeFileSync } from 'node:fs';
import { operations } from './endpoints.ts';
import { apiDocument, type Json, type JsonObject } from './openapi.ts';

interface Parameter extends JsonObject {
  readonly name: string;
  readonly in: string;
  readonly required: boolean;
  readonly schema: JsonObject;
}

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: readonly string[];
  readonly parameters: readonly Parameter[];
  readonly requestBody?: { readonly content: Content };
  readonly responses: Readonly<
    Record<string, { readonly description: string; readonly content?: Content; readonly 'x-codes'?: readonly string[] }>
  >;
  readonly 'x-permission': string;
  readonly 'x-audit-event'?: string;
  readonly 'x-tenant-operators'?: true;
}

type Content = Readonly<Record<string, { readonly schema: JsonObject }>>;

/** docs/api.md, from the document. */
export function apiReference(document: JsonObject): string {
  const paths = Object.entries(document.paths as JsonObject) as unknown as [string, Record<string, Operation>][];
  const rows = paths.flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, row]) => ({ title: `${method.toUpperCase()} ${path}`, row })),
  );
  const rooms = Map.groupBy(rows, ({ row }) => row.tags[0] as string);
  return [
    '# Admin API',
    '',
    'Generated from the table of endpoints and the schemas that validate, by `npm run schema`; the same as an OpenAPI 3.1',
    'document is served at `/v1/openapi.json`. Every call may also be refused with 400, 401, 403, 412, 422, 429, 500 and 503;',
    'what a `code` means is in [reasons.md](reasons.md).',
    '',
    (document.info as JsonObject).description as string,
    ...[...rooms].flatMap(([room, members]) => [
      '',
      `## ${room}`,
      ...members.flatMap(({ title, row }) => section(title, row)),
    ]),
    '',
  ].join('\n');
}

function section(title: string, row: Operation): string[] {
  const event = row['x-audit-event'];
  const about = [
    `\`${row.operationId}\``,
    `permission \`${row['x-permission']}\``,
    ...(event ? [`audited as \`${event}\``] : []),
    ...(row['x-tenant-operators'] ? ['also for operators of a tenant'] : []),
  ];
  return [
    '',
    `### ${title}`,
    `${row.summary} (${about.join(', ')})`,
    ...row.parameters.flatMap(parameterLine),
    ...bodyLines('Body', row.requestBody?.content),
    ...Object.entries(row.responses).flatMap(([status, response]) => answerLines(status, response)),
  ];
}

const parameterLine = ({ name, in: where, schema }: Parameter): string[] =>
  where === 'query' ? [`- \`?${name}=\` ${typeText(schema)}`] : where === 'header' ? [`- \`${name}\` (header)`] : [];

/** Refusals that every call may answer are told once, at the top. */
const EVERYWHERE: ReadonlySet<string> = new Set([
  '400',
  '401',
  '403',
  '408',
  '412',
  '413',
  '415',
  '422',
  '429',
  '500',
  '503',
]);

function answerLines(status: string, response: Operation['responses'][string]): string[] {
  if (response['x-codes'] === undefined) {
    return response.content === undefined
      ? [`- Answers ${status}, without a body`]
      : bodyLines(`Answers ${status}`, response.content);
  }
  return EVERYWHERE.has(status) ? [] : [`- Refuses ${status} \`${response['x-codes'].join('`, `')}\``];
}

function bodyLines(what: string, content: Content | undefined): string[] {
  const schema = content?.['application/json']?.schema;
  if (schema === undefined) return [];
  const forms = (schema.anyOf as readonly JsonObject[] | undefined) ?? [schema];
  return forms.map((form, at) => `- ${at === 0 ? what : 'or'} \`${typeText(form)}\``);
}

/** A schema in the manner of TypeScript; `?` marks what may be missing. */
function typeText(schema: Json | undefined): string {
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) return 'any';
  const { type, anyOf, enum: words, const: word, properties, items, prefixItems, format } = schema as JsonObject;
  if (anyOf !== undefined) return [...new Set((anyOf as readonly Json[]).map(typeText))].join(' | ');
  if (word !== undefined) return JSON.stringify(word);
  if (words !== undefined) return wordsText(words as readonly Json[]);
  if (properties !== undefined) return objectText(schema as JsonObject);
  if (prefixItems !== undefined) return `[${(prefixItems as readonly Json[]).map(typeText).join(', ')}]`;
  if (type === 'array') return `[${typeText(items)}]`;
  if (type === 'object') return '{…}';
  if (format === 'date-time') return 'time';
  return typeof type === 'string' ? type : 'any';
}

const wordsText = (words: readonly Json[]) =>
  words.length > 8 ? `one of ${words.length} words` : words.map((word) => JSON.stringify(word)).join(' | ');

function objectText({ properties, required = [] }: JsonObject): string {
  const members = Object.entries(properties as JsonObject).map(
    ([name, schema]) => `${name}${(required as readonly string[]).includes(name) ? '' : '?'}: ${typeText(schema)}`,
  );
  return `{${members.join(', ')}}`;
}

if (import.meta.main) {
  // The version would make the page differ with every release.
  writeFileSync(new URL('../../docs/api.md', import.meta.url), apiReference(apiDocument(operations, '')));
}
