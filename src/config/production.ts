// What `--production` refuses: settings that are right on a laptop and wrong before users.
import type { LoadedConfig } from './loaded.ts';
import { formatPath, formatSource, type Path } from './places.ts';
import { ConfigError, type Problem } from './problem.ts';
import { sidecarSchema } from './schema.ts';
import { secretReferences } from './secrets.ts';

/** Every refusal, with the place of the setting; empty when there is none. */
export function productionProblems(loaded: LoadedConfig): Problem[] {
  const { config, sources } = loaded;
  const problems: Problem[] = [];
  const refuse = (at: Path, message: string) => {
    const path = formatPath(at);
    const source = sources.get(path);
    const place = source === undefined || source.kind === 'default' ? loaded.file : formatSource(source);
    problems.push({ place, path, message, nearest: undefined });
  };
  if (config.redis === undefined)
    refuse(['redis'], 'is missing: revocations and limits would be lost with the process');
  if (config.postgres?.embedded)
    refuse(['postgres', 'embedded'], 'is for trying out: its data is one folder of one replica');
  if (config.proxy.error_detail === 'reason') refuse(['proxy', 'error_detail'], 'tells callers why they were refused');
  for (const [path, reference] of secretReferences(loaded.effective, sidecarSchema)) {
    if ('value' in reference) refuse(path, 'is a secret written into the file; use {env: …} or {file: …}');
  }
  for (const [name, { mode, auth, match }] of Object.entries(config.routes)) {
    if (mode === 'shadow') refuse(['routes', name, 'mode'], 'is shadow: nothing is refused');
    if (auth === 'none' && match.prefix === '/') refuse(['routes', name, 'auth'], 'is none for everything below /');
  }
  return problems;
}

/** Answers `loaded`; throws {@link ConfigError} with every refusal where there is one. */
export function requireProduction(loaded: LoadedConfig): LoadedConfig {
  const problems = productionProblems(loaded);
  if (problems.length > 0) throw new ConfigError(problems);
  return loaded;
}
