// `doorward statistics` and `doorward cleanup`: what is kept, counted, and the removal of what has expired.
import type { Command } from 'commander';
import { type AdminOptions, callAdmin, withAdminOptions } from './admin-client.ts';
import { type Terminal, tableLines } from './terminal.ts';

type Row = Readonly<Record<string, string | number | boolean | null>>;

/** Adds both verbs. */
export function addStatistics(program: Command, terminal: Terminal): void {
  withAdminOptions(program.command('statistics'))
    .description(
      'clients, grants, tokens by day, revocations, keys, operators and audit events, counted (needs postgres)',
    )
    .action(async (options: AdminOptions) => {
      const answer = await callAdmin(options, terminal, { method: 'GET', path: '/v1/statistics' });
      if (options.json) return terminal.out(JSON.stringify(answer));
      const { at, ...figures } = answer as Readonly<Record<string, readonly Row[]>> & { readonly at: string };
      terminal.out(`at ${at}`);
      for (const [what, rows] of Object.entries(figures)) for (const line of tableOf(what, rows)) terminal.out(line);
    });
  withAdminOptions(program.command('cleanup'))
    .description('remove what has expired now, and count it (it also happens by itself every ten minutes)')
    .action(async (options: AdminOptions) => {
      const call = { method: 'POST', path: '/v1/cleanup', timeoutMs: 60_000 } as const;
      const answer = (await callAdmin(options, terminal, call)) as { removed: Readonly<Record<string, number>> };
      if (options.json) return terminal.out(JSON.stringify(answer));
      for (const line of tableLines(
        Object.entries(answer.removed).map(([what, count]) => [String(count), wordsOf(what)]),
      ))
        terminal.out(line);
    });
}

const wordsOf = (name: string) => name.replaceAll('_', ' ');

/** Rows without anything are left out: of the audit events most never happen. */
function tableOf(what: string, rows: readonly Row[]): string[] {
  const shown = rows.filter((row) => Object.values(row).some((value) => typeof value === 'number' && value > 0));
  const title = ['', wordsOf(what)];
  if (shown.length === 0) return [...title, '  none'];
  const head = Object.keys(shown[0] as Row).map((name) => wordsOf(name).toUpperCase());
  const cells = shown.map((row) => Object.values(row).map((value) => (value === null ? '-' : String(value))));
  return [...title, ...tableLines([head, ...cells]).map((line) => `  ${line}`)];
}
