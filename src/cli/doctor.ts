// `doorward doctor`: the go-live check of a running system. It does what clients, applications and attackers do, says of each
// whether it went as it must, and takes away what it made.
import type { Command } from 'commander';
import { type AdminOptions, withAdminOptions } from './admin-client.ts';
import { countsCheck } from './doctor-counts.ts';
import { systemChecks } from './doctor-system.ts';
import { tokenChecks } from './doctor-tokens.ts';
import { CheckFailed, CheckSkipped, type DoctorCheck, DoctorWorld } from './doctor-world.ts';
import { CliError } from './exit-codes.ts';
import type { Terminal } from './terminal.ts';

interface DoctorOptions extends AdminOptions {
  readonly url?: string;
  readonly path?: string;
  readonly allowSkip?: boolean;
  readonly counts?: string;
}

interface Result {
  readonly check: string;
  readonly outcome: 'pass' | 'fail' | 'skip';
  readonly detail: string;
}

/** Adds the verb. */
export function addDoctor(program: Command, terminal: Terminal): void {
  withAdminOptions(program.command('doctor'))
    .description('check a running system from the outside before it goes live')
    .option('--url <url>', 'proxy port, such as http://127.0.0.1:8080 (default: as the configuration in force says)')
    .option('--path <path>', 'path of a protected route to try (default: the first that takes tokens of ours by GET)')
    .option(
      '--counts <file>',
      'compare what was counted before a restart: noted here by the first run, compared by the next',
    )
    .option('--allow-skip', 'let checks be skipped that cannot be made here')
    .action((options: DoctorOptions) => doctor(options, terminal));
}

async function doctor(options: DoctorOptions, terminal: Terminal): Promise<void> {
  await using world = new DoctorWorld(options, terminal, options);
  const results: Result[] = [];
  try {
    // First of all: the others make a client for a while.
    const counted = options.counts === undefined ? [] : [countsCheck(options.counts)];
    for (const check of [...counted, ...systemChecks, ...tokenChecks]) {
      const result = await outcomeOf(check, world);
      results.push(result);
      if (!options.json) terminal.out(lineOf(result));
    }
  } finally {
    // Whatever failed before: the temporary client must not stay.
    if (world.client !== undefined)
      await world.admin('DELETE', `/v1/clients/${world.client.id}`).catch(() => undefined);
  }
  const count = (wanted: Result['outcome']) => results.filter(({ outcome }) => outcome === wanted).length;
  const [pass, fail, skip] = [count('pass'), count('fail'), count('skip')];
  const ok = fail === 0 && (skip === 0 || options.allowSkip === true);
  const summary = `${pass} passed, ${fail} failed, ${skip} skipped`;
  if (options.json) terminal.out(JSON.stringify({ ok, pass, fail, skip, checks: results }));
  if (!ok) throw new CliError('failure', `not fit to go live: ${summary}`);
  if (!options.json) terminal.out(summary);
}

async function outcomeOf({ name: check, run }: DoctorCheck, world: DoctorWorld): Promise<Result> {
  try {
    return { check, outcome: 'pass', detail: await run(world) };
  } catch (error) {
    if (error instanceof CheckSkipped) return { check, outcome: 'skip', detail: error.message };
    if (error instanceof CheckFailed) return { check, outcome: 'fail', detail: error.message };
    // Without a sidecar there is nothing to check.
    if (error instanceof CliError) throw error;
    throw new Error(`the check "${check}" broke`, { cause: error });
  }
}

const lineOf = ({ check, outcome, detail }: Result) => `${outcome.padEnd(4)}  ${check}: ${detail}`;
