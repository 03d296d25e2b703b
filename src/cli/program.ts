// The command line as a whole: which nouns and verbs there are, and how a failure becomes an exit code. Each command stands
// in a file of its own and loads what it needs only when it runs.
import { Command, CommanderError } from 'commander';
import { addAttack } from './attack.ts';
import { addAudit } from './audit.ts';
import { addCheck } from './check.ts';
import { addClientCommand } from './client.ts';
import { addConfig } from './config.ts';
import { addConvert } from './convert.ts';
import { addDataKey } from './data-key.ts';
import { addDemo } from './demo.ts';
import { addDev } from './dev.ts';
import { addDoctor } from './doctor.ts';
import { addDrain } from './drain.ts';
import { exitCodeMeanings, exitCodes } from './exit-codes.ts';
import { addExplain } from './explain.ts';
import { asCliError } from './failure.ts';
import { addGrant } from './grant.ts';
import { addHealthcheck } from './healthcheck.ts';
import { addInit } from './init.ts';
import { addKey } from './key.ts';
import { addLimit } from './limit.ts';
import { addMigrate } from './migrate.ts';
import { addOperatorCommand } from './operator.ts';
import { addRevoke } from './revoke.ts';
import { addRun } from './run.ts';
import { addStatistics } from './statistics.ts';
import type { Terminal } from './terminal.ts';
import { addToken } from './token.ts';
import { addUpstream } from './upstream.ts';
import { version } from './version.ts';
import { addWhy } from './why.ts';

const commands = [
  addRun,
  addDev,
  addDemo,
  addCheck,
  addInit,
  addMigrate,
  addDoctor,
  addAttack,
  addToken,
  addRevoke,
  addKey,
  addDataKey,
  addGrant,
  addLimit,
  addUpstream,
  addClientCommand,
  addOperatorCommand,
  addAudit,
  addStatistics,
  addExplain,
  addWhy,
  addConfig,
  addConvert,
  addDrain,
  addHealthcheck,
];

/** Runs one command line (without node and script); resolves with the exit code, never rejects. */
export async function runCli(args: readonly string[], terminal: Terminal): Promise<number> {
  const program = buildProgram(terminal);
  try {
    await program.parseAsync([...args], { from: 'user' });
    return exitCodes.ok;
  } catch (error) {
    return explainFailure(error, terminal);
  }
}

/** All nouns and verbs with their options; parsing runs one and throws CommanderError where the line is wrong. */
export function buildProgram(terminal: Terminal): Command {
  const program = new Command('doorward')
    .description('Auth sidecar: verifies tokens, revocations and limits before your application.')
    .version(version())
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({
      writeOut: (text) => terminal.out(text.trimEnd()),
      writeErr: (text) => terminal.err(text.trimEnd()),
    })
    .addHelpText('after', exitCodeTable);
  for (const add of commands) add(program, terminal);
  return program;
}

function exitCodeTable(): string {
  const rows = Object.entries(exitCodes).map(
    ([name, code]) => `  ${code}  ${exitCodeMeanings[name as keyof typeof exitCodes]}`,
  );
  return `\nExit codes:\n${rows.join('\n')}`;
}

function explainFailure(error: unknown, terminal: Terminal): number {
  // commander has printed its own message already; --help and --version end here too, with 0.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  const { message, exitCode } = asCliError(error);
  terminal.err(message);
  return exitCode;
}
