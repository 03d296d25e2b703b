// The PostgreSQL schema as text that is the same from every server version: for the snapshot test/postgres-schema.sql.
// `npm run schema:sql` (this file, run) writes it anew.
import { writeFileSync } from 'node:fs';
import type { TestDatabase } from './postgres-server.ts';

/** Where the snapshot stands. */
export const snapshotFile = new URL('../postgres-schema.sql', import.meta.url);

/** Tables with columns, constraints and indexes, then views, functions and comments; in the order of their names. */
export async function schemaText({ sql }: TestDatabase): Promise<string> {
  const relations = await sql`
    select oid, relname as name, relkind as kind, obj_description(oid) as comment from pg_class
    where relnamespace = 'doorward'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'S') order by relname collate "C"`;
  const texts: string[] = [];
  for (const { oid, name, kind, comment } of relations) {
    if (kind === 'S') texts.push(`sequence ${name}`);
    else texts.push(await (kind === 'v' || kind === 'm' ? viewText(sql, oid, name) : tableText(sql, oid, name)));
    if (comment !== null) texts.push(`  comment: ${comment}`);
  }
  const routines = await sql`
    select pg_get_functiondef(oid) as text from pg_proc where pronamespace = 'doorward'::regnamespace
    order by proname collate "C"`;
  return `${[...texts, ...routines.map(({ text }) => String(text).trim())].join('\n')}\n`;
}

async function tableText(sql: TestDatabase['sql'], oid: number, name: string): Promise<string> {
  const columns = await sql`
    select a.attname as name, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as required,
      pg_get_expr(d.adbin, d.adrelid) as value, a.attidentity as identity, a.attgenerated as generated,
      col_description(a.attrelid, a.attnum) as comment
    from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = ${oid} and a.attnum > 0 and not a.attisdropped order by a.attnum`;
  // From 18 on NOT NULL is a constraint too ('n'); it stands with the column.
  const constraints = await sql`
    select conname as name, pg_get_constraintdef(oid) as text from pg_constraint
    where conrelid = ${oid} and contype <> 'n' order by conname collate "C"`;
  const indexes = await sql`
    select pg_get_indexdef(indexrelid) as text from pg_index i
    where indrelid = ${oid} and not exists (select 1 from pg_constraint where conindid = i.indexrelid)
    order by indexrelid::regclass::text collate "C"`;
  const triggers = await sql`
    select pg_get_triggerdef(oid) as text from pg_trigger where tgrelid = ${oid} and not tgisinternal
    order by tgname collate "C"`;
  return [
    `table ${name}`,
    ...columns.map(columnText),
    ...constraints.map((row) => `  constraint ${row.name} ${row.text}`),
    ...[...indexes, ...triggers].map((row) => `  ${row.text}`),
  ].join('\n');
}

function columnText(row: Record<string, unknown>): string {
  const generated =
    row.generated === 's' ? ` generated ${row.value}` : row.value === null ? '' : ` default ${row.value}`;
  const identity = row.identity === '' ? '' : ' identity';
  const comment = row.comment === null ? '' : `  -- ${row.comment}`;
  return `  ${row.name} ${row.type}${row.required ? ' not null' : ''}${generated}${identity}${comment}`;
}

/** Without its query: every version prints one in its own way, and the migration that holds it cannot change unseen. */
async function viewText(sql: TestDatabase['sql'], oid: number, name: string): Promise<string> {
  const columns = await sql`
    select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute
    where attrelid = ${oid} and attnum > 0 order by attnum`;
  return [`view ${name}`, ...columns.map((row) => `  ${row.name} ${row.type}`)].join('\n');
}

if (import.meta.main) {
  const { openTestDatabase } = await import('./postgres-server.ts');
  await using database = await openTestDatabase();
  writeFileSync(snapshotFile, await schemaText(database));
}
