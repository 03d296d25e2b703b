// The version of this program, from its package.json.
import { readFileSync } from 'node:fs';

/** Version as published; found beside src/ as beside dist/. */
export function version(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return String(version);
}
