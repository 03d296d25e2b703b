// `doorward data-key`: the keys that secrets in PostgreSQL are sealed under.
import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { type AdminOptions, callAdmin, withAdminOptions } from './admin-client.ts';
import { type Terminal, tableLines } from './terminal.ts';

interface Status {
  readonly active_key_id: string | null;
  readonly kek_id: string | null;
  readonly keys: readonly {
    readonly id: string;
    readonly state: string;
    readonly created_at: string;
    readonly seals: number;
  }[];
  readonly resealing: {
    readonly done: number;
    readonly total: number;
    readonly running: boolean;
    readonly unreadable: readonly string[];
  };
}

const PATH = '/v1/data-keys';
const PROGRESS_EVERY_MS = 500;

/** Adds the noun. */
export function addDataKey(program: Command, terminal: Terminal): void {
  const noun = program.command('data-key').description('keys that secrets in PostgreSQL are sealed under');
  withAdminOptions(noun.command('status'))
    .description(
      'data keys, how many seals each has set aside (replicas take them in blocks), and how far re-sealing is',
    )
    .action(async (options: AdminOptions) => show(await ask(options, terminal), options, terminal));
  withAdminOptions(noun.command('rotate'))
    .description('make a new data key, and re-seal everything under it; waits for the end')
    .action((options: AdminOptions) => begin(PATH, options, terminal));
  withAdminOptions(noun.command('reseal'))
    .description('re-seal everything under the active data key; waits for the end')
    .action((options: AdminOptions) => begin(`${PATH}/reseal`, options, terminal));
}

async function ask(options: AdminOptions, terminal: Terminal): Promise<Status> {
  return (await callAdmin(options, terminal, { method: 'GET', path: PATH })) as Status;
}

/** Progress goes to standard error, so that standard output holds the result alone. */
async function begin(path: string, options: AdminOptions, terminal: Terminal): Promise<void> {
  await callAdmin(options, terminal, { method: 'POST', path });
  let status = await ask(options, terminal);
  while (status.resealing.running) {
    terminal.err(`re-sealed ${status.resealing.done} of ${status.resealing.total}`);
    await delay(PROGRESS_EVERY_MS);
    status = await ask(options, terminal);
  }
  show(status, options, terminal);
}

function show(status: Status, options: AdminOptions, terminal: Terminal): void {
  if (options.json) {
    terminal.out(JSON.stringify(status));
    return;
  }
  const rows = status.keys.map((key) => [key.id, key.state, `since ${key.created_at}`, `${key.seals} seals set aside`]);
  for (const line of tableLines(rows)) terminal.out(line);
  const { done, total, unreadable } = status.resealing;
  terminal.out(`${done} of ${total} fields under the active key; key-encryption key ${status.kek_id}`);
  for (const place of unreadable) terminal.out(`does not open: ${place}`);
}
