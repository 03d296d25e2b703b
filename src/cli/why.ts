// `doorward why REQUEST_ID`: tells a user's complaint apart. The request id stands in the body and header they got.
import type { Command } from 'commander';
import { type AdminOptions, callAdmin, withAdminOptions } from './admin-client.ts';
import { CliError } from './exit-codes.ts';
import { placed } from './explain.ts';
import type { Terminal } from './terminal.ts';

const SHOWN = ['time', 'status', 'stage', 'reason', 'rule', 'limits', 'route', 'method', 'host', 'path', 'address'];
const WHO = ['issuer', 'subject', 'client', 'token_id', 'remedy'];

/** Adds the verb. */
export function addWhy(program: Command, terminal: Terminal): void {
  withAdminOptions(program.command('why'))
    .description('why a request was refused')
    .argument('<request-id>', 'as in the body or X-Request-Id of the refusal')
    .action(async (id: string, options: AdminOptions) => {
      const path = `/v1/decisions?request_id=${encodeURIComponent(id)}`;
      const answer = (await callAdmin(options, terminal, { method: 'GET', path })) as {
        readonly items: readonly Readonly<Record<string, unknown>>[];
      };
      const decision = answer.items[0];
      if (decision === undefined) {
        throw new CliError('not_found', `${id}: not among the refusals that are kept (it passed, or is too old)`);
      }
      if (options.json) return terminal.out(JSON.stringify(decision));
      for (const name of [...SHOWN, ...WHO]) {
        const value = placed(text(decision[`${name}_at`]), text(decision[name]));
        if (value !== undefined && value !== '') terminal.out(`${name.padEnd(8)} ${value}`);
      }
    });
}

const text = (value: unknown): string | undefined => (value === undefined ? undefined : String(value));
