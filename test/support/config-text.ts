// Short ways to load a configuration in tests: from text, from a file in a folder of its own.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseConfig } from '../../src/config/load.ts';
import type { LoadedConfig } from '../../src/config/loaded.ts';
import { ConfigError } from '../../src/config/problem.ts';

/** The smallest configuration that holds. */
export const SMALLEST = `version: 1
upstreams: {app: {url: "http://127.0.0.1:3000"}}
issuers: {corp: {issuer: "https://id.example.com/", audience: [api]}}
routes: {all: {match: {prefix: /}}}
`;

/** Loads text as `sidecar.yaml`; throws as parseConfig does. */
export function parseText(text: string, env: Record<string, string> = {}, file = 'sidecar.yaml'): LoadedConfig {
  return parseConfig({ bytes: Buffer.from(text), file, env });
}

/** The printed problems of text that must be refused. */
export function problemsOf(text: string, env: Record<string, string> = {}): string[] {
  try {
    parseText(text, env);
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n');
    throw error;
  }
  throw new Error('the configuration was accepted');
}

/** A folder of its own that goes away with `using`. */
export function temporaryFolder(): Disposable & {
  path(name: string): string;
  write(name: string, text: string): string;
} {
  const folder = mkdtempSync(join(tmpdir(), 'doorward-config-'));
  const path = (name: string) => join(folder, name);
  return {
    path,
    write: (name, text) => {
      writeFileSync(path(name), text);
      return path(name);
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}
