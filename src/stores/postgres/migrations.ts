// The migrations that this program brings, and which of them a schema still needs. Pure, but for reading the files beside
// it. Numbered, forward only; each states the oldest release that may run on the schema it leaves (expand now, contract a
// release later).
import { readdirSync, readFileSync } from 'node:fs';
import { digest } from '../../core/encoding.ts';

/** One file of migrations/. */
export interface Migration {
  readonly number: number;
  readonly name: string;
  readonly sql: string;
  /** Digest of the text: an applied file never changes. */
  readonly checksum: string;
  /** Oldest release that may run once it is applied. */
  readonly oldestRelease: string;
}

/** A row of the `migration` table. */
export interface AppliedMigration {
  readonly number: number;
  readonly name: string;
  readonly checksum: string;
  readonly release: string;
  readonly oldestRelease: string;
  readonly appliedAt: Date;
}

/** The schema cannot be used by this program, and waiting does not help. */
export class SchemaRefused extends Error {
  override readonly name = 'SchemaRefused';
}

const FILE = /^(\d{4})_([a-z0-9_]+)\.sql$/;
const OLDEST = /^-- oldest release: (\d+\.\d+\.\d+)$/m;

/** All migrations of a folder in the order of their numbers; gaps are fine. Throws TypeError for a file out of form. */
export function readMigrations(folder: URL | string = new URL('./migrations/', import.meta.url)): readonly Migration[] {
  const migrations = readdirSync(folder)
    .sort()
    .map((file) => readMigration(file, readFileSync(place(folder, file), 'utf8')));
  migrations.forEach(({ number }, at) => {
    if (migrations[at + 1]?.number === number) throw new TypeError(`two migrations have the number ${number}`);
  });
  return migrations;
}

const place = (folder: URL | string, file: string) =>
  typeof folder === 'string' ? `${folder}/${file}` : new URL(file, folder);

/** One file as a migration. */
export function readMigration(file: string, sql: string): Migration {
  const [, number, name] = FILE.exec(file) ?? [];
  const [, oldestRelease] = OLDEST.exec(sql) ?? [];
  if (number === undefined || name === undefined) throw new TypeError(`${file} is not named NNNN_name.sql`);
  if (oldestRelease === undefined) throw new TypeError(`${file} does not say \`-- oldest release: x.y.z\``);
  return { number: Number(number), name, sql, checksum: digest(sql), oldestRelease };
}

/**
 * The migrations that a schema still needs, in order. Throws {@link SchemaRefused} where an applied file has changed since,
 * or where a newer program left the schema so that `release` may not run on it.
 */
export function pendingMigrations(
  known: readonly Migration[],
  applied: readonly AppliedMigration[],
  release: string,
): readonly Migration[] {
  const byNumber = new Map(known.map((migration) => [migration.number, migration]));
  for (const { number, name, checksum, release: by } of applied) {
    const mine = byNumber.get(number);
    if (mine !== undefined && mine.checksum !== checksum) {
      throw new SchemaRefused(`migration ${number} (${name}) was applied by release ${by} with another text`);
    }
  }
  const needed = applied
    .map(({ oldestRelease }) => oldestRelease)
    .sort(compareReleases)
    .at(-1);
  if (needed !== undefined && compareReleases(release, needed) < 0) {
    throw new SchemaRefused(`the schema needs release ${needed} or later, and this is ${release}`);
  }
  const done = new Set(applied.map(({ number }) => number));
  return known.filter(({ number }) => !done.has(number));
}

/** Orders `x.y.z` by its numbers; what follows a `-` does not count. */
export function compareReleases(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => (text.split('-', 1)[0] as string).split('.').map(Number));
  for (let at = 0; at < 3; at += 1) {
    const difference = (left?.[at] ?? 0) - (right?.[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
