// Every sidecar.yaml under deploy/ through `doorward check --production`, with what it reads from files and the environment
// put in place by the caller.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { loadConfig } from '../../src/config/load.ts';
import type { LoadedConfig } from '../../src/config/loaded.ts';
import { runHere, scratchFolder } from '../cli/processes.ts';

/** Paths that a deployment mounts, and what a test puts there. */
export type Files = Readonly<Record<string, string>>;

/** What stands for a mounted secret unless the caller says otherwise. */
const SECRETS: Files = { '/run/secrets/doorward/redis-url': 'rediss://redis.example:6379' };

/** Checks a configuration as its deployment does and returns it loaded. Fails on every warning and refusal. */
export async function checkedConfig(
  file: string,
  env: Readonly<Record<string, string>> = {},
  files: Files = SECRETS,
): Promise<Pick<LoadedConfig, 'config'>> {
  using folder = scratchFolder();
  let text = readFileSync(file, 'utf8');
  for (const [path, content] of Object.entries(files)) {
    if (!text.includes(path)) continue;
    const stand = folder.file(path.replaceAll('/', '-').slice(1));
    writeFileSync(stand, content);
    text = text.replaceAll(path, stand);
  }
  const copy = folder.file('sidecar.yaml');
  writeFileSync(copy, text);
  const { code, out, err } = await runHere(['check', '--production', '--config', copy], '', env);
  assert.deepEqual([code, err], [0, ''], out);
  return loadConfig({ file: copy, env });
}
