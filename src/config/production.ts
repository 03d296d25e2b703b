// What `--production` refuses: settings that are right on a laptop and wrong before users.
import { type LoadedConfig, problemAt } from './loaded.ts';
import type { Path } from './places.ts';
import { ConfigError, type Problem } from './problem.ts';
import { sidecarSchema } from './schema.ts';
import { secretReferences } from './secrets.ts';
import { isOverdue, shadowed } from './shadow.ts';

/** Every refusal, with the place of the setting; empty when there is none. */
export function productionProblems(loaded: LoadedConfig): Problem[] {
  const { config } = loaded;
  const problems: Problem[] = [];
  const refuse = (at: Path, message: string) => problems.push(problemAt(loaded, at, message));
  if (config.redis === undefined)
    refuse(['redis'], 'is missing: revocations and limits would be lost with the process');
  if (config.postgres?.embedded)
    refuse(['postgres', 'embedded'], 'is for trying out: its data is one folder of one replica');
  if (config.proxy.error_detail === 'reason') refuse(['proxy', 'error_detail'], 'tells callers why they were refused');
  for (const [path, reference] of secretReferences(loaded.effective, sidecarSchema)) {
    if ('value' in reference) refuse(path, 'is a secret written into the file; use {env: …} or {file: …}');
  }
  for (const { path, block } of shadowed(config)) {
    if (block.shadow_until === undefined)
      refuse([...path, 'mode'], 'is shadow without an end: nothing is refused; give it shadow_until');
  }
  for (const [name, { auth, match }] of Object.entries(config.routes)) {
    if (auth === 'none' && match.prefix === '/') refuse(['routes', name, 'auth'], 'is none for everything below /');
  }
  return problems;
}

/**
 * Leftovers: shadow modes whose date has passed. `check --production` refuses them too; `run` does not, because they enforce, and
 * a day of the calendar must not keep a replica from starting.
 */
export function overdueProblems(loaded: LoadedConfig, nowMs: number): Problem[] {
  return shadowed(loaded.config)
    .filter(({ block }) => isOverdue(block, nowMs))
    .map(({ path }) =>
      problemAt(loaded, [...path, 'shadow_until'], 'has passed: enforced since; take it and mode: shadow out'),
    );
}

/** Answers `loaded`; throws {@link ConfigError} with every refusal where there is one. */
export function requireProduction(loaded: LoadedConfig): LoadedConfig {
  const problems = productionProblems(loaded);
  if (problems.length > 0) throw new ConfigError(problems);
  return loaded;
}
