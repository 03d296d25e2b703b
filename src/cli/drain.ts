// `doorward drain`: what a preStop hook calls, so that nothing is lost when the pod goes.
import { type Command, InvalidArgumentError } from 'commander';
import { parseDuration } from '../core/units.ts';
import { type AdminOptions, callAdmin, withAdminOptions } from './admin-client.ts';
import { CliError } from './exit-codes.ts';
import type { Terminal } from './terminal.ts';

const DEFAULT_WAIT = '60s';

/** Adds the verb. */
export function addDrain(program: Command, terminal: Terminal): void {
  withAdminOptions(program.command('drain'))
    .description('stop taking traffic and finish what is under way')
    .option(
      '--wait [duration]',
      `come back only when nothing is in flight, or fail after this (default ${DEFAULT_WAIT})`,
      checkWait,
    )
    .action(async (options: AdminOptions & { readonly wait?: string | true }) => {
      const wait = options.wait === true ? DEFAULT_WAIT : options.wait;
      const timeoutMs = (wait === undefined ? 0 : (parseDuration(wait) as number)) + 10_000;
      const path = wait === undefined ? '/v1/drain' : `/v1/drain?wait=${wait}`;
      const answer = (await callAdmin(options, terminal, { method: 'POST', path, timeoutMs })) as { state: string };
      terminal.out(options.json ? JSON.stringify(answer) : answer.state);
      if (wait !== undefined && answer.state !== 'drained') throw new CliError('failure', `not drained after ${wait}`);
    });
}

function checkWait(text: string): string {
  if (parseDuration(text) === undefined) throw new InvalidArgumentError('needs a duration such as 30s');
  return text;
}
