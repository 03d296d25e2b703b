// `doorward grant`: who let which client act in whose name, and ending one. All grants of a subject, client, session or tenant end
// with `doorward revoke` of that kind.
import type { Command } from 'commander';
import { type AdminOptions, callAdmin, withAdminOptions } from './admin-client.ts';
import { type Terminal, tableLines } from './terminal.ts';

interface GrantRow {
  readonly id: string;
  readonly client: string;
  readonly subject: string;
  readonly session: string | null;
  readonly scopes: readonly string[];
  readonly created_at: string;
  readonly idle_until: string;
}

interface ListOptions extends AdminOptions {
  readonly subject?: string;
  readonly client?: string;
  readonly session?: string;
  readonly tenant?: string;
}

/** Adds the noun. */
export function addGrant(program: Command, terminal: Terminal): void {
  const grant = program.command('grant').description('list grants of people to clients, end one');
  withAdminOptions(grant.command('list'))
    .description('live grants, newest first')
    .option('--subject <id>', 'only of this subject')
    .option('--client <id>', 'only to this client')
    .option('--session <id>', 'only of this session')
    .option('--tenant <id>', 'only of this tenant')
    .action(async (options: ListOptions) => {
      const items = await allGrants(options, terminal);
      if (options.json) return terminal.out(JSON.stringify(items));
      for (const line of tableLines([HEAD, ...items.map(cells)])) terminal.out(line);
    });
  withAdminOptions(grant.command('end'))
    .description('refuse the refresh token and all access tokens of a grant, everywhere')
    .argument('<id>', 'id as printed by `grant list`')
    .action(async (id: string, options: AdminOptions) => {
      await callAdmin(options, terminal, { method: 'DELETE', path: `/v1/grants/${encodeURIComponent(id)}` });
      terminal.out(options.json ? JSON.stringify({ id, ended: true }) : `${id} has ended`);
    });
}

const HEAD = ['ID', 'CLIENT', 'SUBJECT', 'SCOPES', 'SINCE', 'IDLE UNTIL'];
const cells = ({ id, client, subject, scopes, created_at: since, idle_until: until }: GrantRow) => [
  ...[id, client, subject, scopes.join(' '), since, until],
];

async function allGrants(options: ListOptions, terminal: Terminal): Promise<readonly GrantRow[]> {
  const { subject, client, session, tenant } = options;
  const wanted = Object.entries({ limit: '1000', subject, client, session, tenant });
  const query = new URLSearchParams(wanted.filter((pair): pair is [string, string] => pair[1] !== undefined));
  const items: GrantRow[] = [];
  for (;;) {
    const page = (await callAdmin(options, terminal, { method: 'GET', path: `/v1/grants?${query}` })) as {
      readonly items: readonly GrantRow[];
      readonly next?: string;
    };
    items.push(...page.items);
    if (page.next === undefined) return items;
    query.set('cursor', page.next);
  }
}
