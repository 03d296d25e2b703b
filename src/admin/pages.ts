// Cursor pages over a list: stable while entries come and go, because the cursor names a place and not a count.
import { z } from 'zod';
import { FieldsError } from './endpoint.ts';

/** Last millisecond of the year 9999: later ones have no spelling that PostgreSQL reads. */
const LAST_MS = 253_402_300_799_999;
const PAGE_SIZE = 'needs a number from 1 to 1000';

/** Query parameters of every paged list. */
export const pageQuery = {
  limit: z
    .string()
    .regex(/^\d{1,4}$/, PAGE_SIZE)
    .transform(Number)
    .pipe(z.number().min(1, PAGE_SIZE).max(1000, PAGE_SIZE))
    .default(100)
    .meta({ type: 'integer', minimum: 1, maximum: 1000, default: 100 }),
  cursor: z.string().max(512).optional(),
};

/** One page; `next` is absent on the last one. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly next?: string;
}

/** The page of `items` after `cursor`, newest first; ties are ordered by id. */
export function pageOf<T>(
  items: readonly T[],
  place: (item: T) => { readonly atMs: number; readonly id: string },
  query: { readonly limit: number; readonly cursor?: string | undefined },
): Page<T> {
  const after = query.cursor === undefined ? undefined : decodeCursor(query.cursor);
  const isAfter = (item: T) => after === undefined || compare(place(item), after) > 0;
  const rest = items.filter(isAfter).toSorted((a, b) => compare(place(a), place(b)));
  const shown = rest.slice(0, query.limit);
  const last = shown.at(-1);
  if (rest.length <= shown.length || last === undefined) return { items: shown };
  return { items: shown, next: encodeCursor(place(last)) };
}

/** The page that a store answers: one more row than is shown tells whether there is a next page. */
export async function pageFrom<T>(
  fetch: (after: Place | undefined, limit: number) => Promise<readonly T[]>,
  place: (item: T) => Place,
  query: { readonly limit: number; readonly cursor?: string | undefined },
): Promise<Page<T>> {
  const after = query.cursor === undefined ? undefined : decodeCursor(query.cursor);
  const found = await fetch(after, query.limit + 1);
  const items = found.slice(0, query.limit);
  const last = items.at(-1);
  return found.length > query.limit && last !== undefined ? { items, next: encodeCursor(place(last)) } : { items };
}

/** A place in a list that is ordered newest first, ties by id. */
export type Place = { readonly atMs: number; readonly id: string };

function compare(a: Place, b: Place): number {
  if (a.atMs !== b.atMs) return b.atMs - a.atMs;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}

/** The cursor of the page after this place. */
export const encodeCursor = ({ atMs, id }: Place) => Buffer.from(`${atMs} ${id}`).toString('base64url');

/** The place that a cursor names; throws FieldsError for what is none. */
export function decodeCursor(cursor: string): Place {
  const match = /^(\d{1,16}) (.+)$/.exec(Buffer.from(cursor, 'base64url').toString());
  // A time and a text that PostgreSQL can hold: a cursor is anybody's to write.
  if (match === null || Number(match[1]) > LAST_MS || match[2]?.includes('\0')) {
    throw new FieldsError([{ path: 'cursor', problem: 'is not a cursor of this list' }]);
  }
  return { atMs: Number(match[1]), id: match[2] as string };
}
