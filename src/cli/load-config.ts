// The configuration file that a command is given, read as a sidecar that starts would read it.
import type { LoadedConfig } from '../config/loaded.ts';
import type { Problem } from '../config/problem.ts';
import { CliError } from './exit-codes.ts';
import type { Terminal } from './terminal.ts';

/** Loads it; a refused one is a CliError with one problem a line, of which `onRefused` is told before. */
export async function loadOrExplain(
  file: string,
  { env }: Pick<Terminal, 'env'>,
  onRefused?: (problems: readonly Problem[]) => void,
): Promise<LoadedConfig> {
  const [{ loadConfig }, { ConfigError }] = await Promise.all([
    import('../config/load.ts'),
    import('../config/problem.ts'),
  ]);
  try {
    return loadConfig({ file, env });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    onRefused?.(error.problems);
    throw new CliError('configuration_refused', error.message, { cause: error });
  }
}
