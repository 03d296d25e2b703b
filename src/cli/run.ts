// `doorward run`: the sidecar in the foreground, until a signal ends it. Everything that serves is opened by app.ts.
import type { Command } from 'commander';
import type { Sidecar } from '../app/sidecar.ts';
import { CliError } from './exit-codes.ts';
import type { Terminal } from './terminal.ts';

/** How long open handles may keep a finished process alive. */
const EXIT_GRACE_MS = 2000;

/** Adds the verb. */
export function addRun(program: Command, terminal: Terminal): void {
  program
    .command('run')
    .description('run the sidecar; SIGHUP reloads, SIGTERM and SIGINT drain, a second one cuts')
    .option('-c, --config <file>', 'configuration', 'sidecar.yaml')
    .option(
      '--production',
      'refuse what check --production refuses, but for shadow_until dates that have passed (those enforce), at the start and at each reload',
    )
    .action((options: RunOptions) => run(options, terminal));
}

interface RunOptions {
  readonly config: string;
  readonly production?: boolean;
}

async function run(options: RunOptions, terminal: Terminal): Promise<void> {
  const { openLog } = await import('../telemetry/log.ts');
  const { surviveDefects } = await import('../app/defects.ts');
  surviveDefects(openLog('error'));
  const sidecar = await openOrExplain(options, terminal);
  const failure = await untilSignalled(sidecar);
  await sidecar[Symbol.asyncDispose]();
  endSoon();
  if (failure !== undefined) throw new CliError('workers_failed', failure.message, { cause: failure });
}

/** Opens the sidecar; a refused configuration is one problem a line and exit code 3. */
async function openOrExplain({ config: file, production = false }: RunOptions, terminal: Terminal): Promise<Sidecar> {
  const { openSidecar } = await import('../app.ts');
  try {
    return await openSidecar({ file, env: terminal.env, production });
  } catch (error) {
    throw await startFailure(error);
  }
}

/** The failure of a start in the user's words where failure.ts has none; also used by `dev` and `demo`. */
export async function startFailure(error: unknown): Promise<unknown> {
  const { ConfigError } = await import('../config/problem.ts');
  if (error instanceof ConfigError) return new CliError('configuration_refused', error.message, { cause: error });
  const { code, address, port } = error as NodeJS.ErrnoException & { address?: string; port?: number };
  if (code === 'ENOTSUP' && port !== undefined)
    return new CliError('failure', 'proxy.workers above 1 needs SO_REUSEPORT, which this system lacks', {
      cause: error,
    });
  if (code === 'EADDRINUSE') return new CliError('failure', `${address}:${port} is in use`, { cause: error });
  return error;
}

/**
 * Resolves after the first SIGTERM or SIGINT and the drain that it begins, or at once with the second. Workers that cannot be
 * kept alive begin the drain too: those that still serve finish what they have, and the failure is the answer.
 */
async function untilSignalled(sidecar: Sidecar): Promise<Error | undefined> {
  const second = Promise.withResolvers<void>();
  const first = Promise.withResolvers<undefined>();
  let signals = 0;
  const onStop = () => {
    signals += 1;
    if (signals === 1) first.resolve(undefined);
    else second.resolve();
  };
  const onReload = () => void sidecar.reload();
  process.on('SIGTERM', onStop).on('SIGINT', onStop).on('SIGHUP', onReload);
  try {
    const failure = await Promise.race([first.promise, sidecar.failed]);
    await Promise.race([sidecar.drain(), second.promise]);
    return failure;
  } finally {
    process.off('SIGTERM', onStop).off('SIGINT', onStop).off('SIGHUP', onReload);
  }
}

function endSoon(): void {
  setTimeout(() => process.exit(), EXIT_GRACE_MS).unref();
}
