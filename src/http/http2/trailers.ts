// Trailers of HTTP/2: those of a request as they came, and any as node wants to be given them. Pure. RFC 9113 section 8.1.
import { headBytes, isField } from './request-head.ts';

/**
 * Trailers of a request: names and values in turn, without those that HTTP/1.1 could not say. Undefined where they take more
 * than `headerBytes`, which a head may not take either.
 */
export function readRequestTrailers(list: readonly string[], headerBytes: number): string[] | undefined {
  if (headBytes(list) > headerBytes) return undefined;
  const fields: string[] = [];
  for (let at = 0; at < list.length; at += 2) {
    const [name, value] = [list[at] as string, list[at + 1] as string];
    if (isField(name, value)) fields.push(name, value);
  }
  return fields;
}

/** Names and values in turn as the object that `sendTrailers` takes. Without a prototype: `constructor` is a name like others. */
export function trailerRecord(fields: readonly string[]): Record<string, string[]> {
  const record: Record<string, string[]> = Object.create(null);
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] as string;
    const value = fields[at + 1] as string;
    const values = record[name];
    if (values === undefined) record[name] = [value];
    else values.push(value);
  }
  return record;
}
