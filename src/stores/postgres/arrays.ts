// Arrays between PostgreSQL's text form and ours: one dimension of texts or whole numbers, which is all that our schema has.
// The driver could learn all array types from the server, but asks with a statement that nobody awaits: a server that goes
// away at that moment would be an unhandled rejection.

/** `{a,"b c"}` as a list; throws RangeError for NULL elements and further dimensions, which we never store. */
export function parseTextArray(text: string): string[] {
  const inner = text.slice(1, -1);
  if (!text.startsWith('{') || !text.endsWith('}')) throw new RangeError('not an array of PostgreSQL');
  if (inner === '') return [];
  const elements: string[] = [];
  // PostgreSQL quotes what holds a blank, by which it means those of ASCII.
  const element = /(?:"((?:[^"\\]|\\.)*)"|([^",{}\\ \t\n\v\f\r]+))(,|$)/gsy;
  for (let end = ','; end === ','; ) {
    const match = element.exec(inner);
    if (match === null || match[2]?.toUpperCase() === 'NULL') throw new RangeError('an array of another kind');
    elements.push(match[1] === undefined ? (match[2] as string) : match[1].replace(/\\(.)/gs, '$1'));
    end = match[3] as string;
  }
  return elements;
}

/** A list of texts as PostgreSQL reads it. */
export function textArrayOf(values: readonly string[]): string {
  return `{${values.map((value) => `"${value.replace(/[\\"]/g, '\\$&')}"`).join(',')}}`;
}

/** A list of whole numbers as PostgreSQL reads it. */
export const int8ArrayOf = (values: readonly number[]): string => `{${values.join(',')}}`;
