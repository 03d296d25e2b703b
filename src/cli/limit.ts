// `doorward limit show` and `limit reset`: one caller's count of one limit.
import type { Command } from 'commander';
import { type AdminOptions, callAdmin, withAdminOptions } from './admin-client.ts';
import { type Terminal, tableLines } from './terminal.ts';

interface LimitAnswer {
  readonly allowed: boolean;
  readonly rates: readonly {
    readonly limit: number;
    readonly window_ms: number;
    readonly remaining: number;
    readonly reset_ms: number;
  }[];
}

const KEY = 'what is counted: an address, issuer/client, or several parts joined by ","';
const pathOf = (name: string, key: string) => `/v1/limits/${encodeURIComponent(name)}/${encodeURIComponent(key)}`;

/** Adds the noun. */
export function addLimit(program: Command, terminal: Terminal): void {
  const limit = program.command('limit').description('look at limits, reset them');
  withAdminOptions(limit.command('show'))
    .description('what one caller has left')
    .argument('<name>', 'limit as sidecar.yaml names it')
    .argument('<key>', KEY)
    .action(async (name: string, key: string, options: AdminOptions) => {
      const answer = (await callAdmin(options, terminal, { method: 'GET', path: pathOf(name, key) })) as LimitAnswer;
      if (options.json) return terminal.out(JSON.stringify(answer));
      const rows = answer.rates.map((rate) => [
        `${rate.limit} in ${rate.window_ms / 1000} s`,
        `${rate.remaining} left`,
        `${rate.remaining > 0 ? 'window ends' : 'next one'} in ${Math.ceil(rate.reset_ms / 1000)} s`,
      ]);
      for (const line of tableLines(rows)) terminal.out(line);
    });
  withAdminOptions(limit.command('reset'))
    .description('forget what was counted of one caller')
    .argument('<name>', 'limit as sidecar.yaml names it')
    .argument('<key>', KEY)
    .action(async (name: string, key: string, options: AdminOptions) => {
      const answer = (await callAdmin(options, terminal, { method: 'DELETE', path: pathOf(name, key) })) as {
        readonly was_counted: boolean;
      };
      if (options.json) terminal.out(JSON.stringify(answer));
      else
        terminal.out(answer.was_counted ? `${name} of ${key} is reset` : `nothing was counted of ${key} under ${name}`);
    });
}
