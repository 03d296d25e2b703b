// How an id is spelled in bytes: UUIDs as their 16 bytes, text within Latin-1 one byte a character, all else two bytes a code
// unit. Every spelling gives back exactly the string it was made of, lone surrogates included.

/** The spelling of an id. */
export type IdForm = 0 | 1 | 2;

const LATIN1: IdForm = 0;
const UTF16: IdForm = 1;
const UUID: IdForm = 2;
const LOWER_UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const BEYOND_LATIN1 = /[^\u0000-\u00ff]/;

/** The shortest spelling of an id. */
export function formOf(id: string): IdForm {
  if (id.length === 36 && LOWER_UUID.test(id)) return UUID;
  return BEYOND_LATIN1.test(id) ? UTF16 : LATIN1;
}

/** Bytes that `id` takes. */
export function idBytes(id: string, form: IdForm): number {
  if (form === UUID) return 16;
  return form === LATIN1 ? id.length : 2 * id.length;
}

/** Writes `id` at `offset`. */
export function writeId(bytes: Buffer, offset: number, id: string, form: IdForm): void {
  if (form === UUID) bytes.write(id.replaceAll('-', ''), offset, 'hex');
  else bytes.write(id, offset, form === LATIN1 ? 'latin1' : 'utf16le');
}

/** Reads the id that takes `length` bytes at `offset`. */
export function readId(bytes: Buffer, offset: number, length: number, form: IdForm): string {
  if (form !== UUID) return bytes.toString(form === LATIN1 ? 'latin1' : 'utf16le', offset, offset + length);
  const hex = bytes.toString('hex', offset, offset + 16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
