// Which release this is, as package.json says it.
import { readFileSync } from 'node:fs';

/** `x.y.z`. */
export const RELEASE = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
).version;
