// Scripts of lua/*.lua. They run by digest; their source is handed over once a connection, and again when Redis has forgotten
// it (SCRIPT FLUSH): NOSCRIPT means that nothing ran, so asking again cannot charge twice.
import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** One script; its name is its file. */
export interface Script {
  readonly source: string;
  readonly sha: string;
}

/** Reads lua/`name`.lua. */
export function loadScript(name: string): Script {
  const source = readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8');
  return { source, sha: hash('sha1', source, 'hex') };
}
