// `doorward operator`: add an operator (its token is printed once), list all, remove one.
import type { Command } from 'commander';
import { type AdminOptions, callAdmin, callPages, withAdminOptions } from './admin-client.ts';
import { type Terminal, tableLines } from './terminal.ts';

interface AddOptions extends AdminOptions {
  readonly role?: string;
  readonly permission?: readonly string[];
  readonly expires?: string;
  readonly certificate?: string;
  readonly tenant?: string;
}

interface OperatorAnswer {
  readonly id: string;
  readonly name: string;
  readonly role: string | null;
  readonly permissions: readonly string[];
  readonly tenant: string | null;
  readonly token?: string;
  readonly token_prefix: string | null;
  readonly certificate: string | null;
  readonly expires_at: string | null;
  readonly last_used_at: string | null;
}

/** Adds the noun. */
export function addOperatorCommand(program: Command, terminal: Terminal): void {
  const operator = program.command('operator').description('who may call the admin port (needs postgres)');
  withAdminOptions(operator.command('add'))
    .description('add an operator; its token is printed once')
    .argument('<name>', 'for people, such as ci or alice')
    .option('--role <role>', 'viewer (reads), editor (daily work) or admin (everything)')
    .option('--permission <names...>', 'beyond the role, such as clients:read')
    .option('--tenant <name>', 'reaches clients, grants, tokens and audit events of this tenant alone')
    .option('--expires <duration>', 'such as 90d; default: never')
    .option(
      '--certificate <name>',
      'for a client certificate instead of a token: sha256:, dns:, uri:, email: or cn: and a name',
    )
    .action(async (name: string, options: AddOptions) => {
      const { role, permission: permissions, expires, certificate, tenant } = options;
      const body = { name, role, permissions, expires, certificate, tenant };
      const answer = (await callAdmin(options, terminal, {
        method: 'POST',
        path: '/v1/operators',
        body,
      })) as OperatorAnswer;
      if (options.json) return terminal.out(JSON.stringify(answer));
      // The token alone on standard output: `doorward operator add ci --role viewer > token` is all a script needs.
      terminal.err(
        `${answer.id} ${answer.name} is added${answer.token === undefined ? '' : '; the token is shown only now:'}`,
      );
      if (answer.token !== undefined) terminal.out(answer.token);
    });
  withAdminOptions(operator.command('list'))
    .description('all operators')
    .action(async (options: AdminOptions) => {
      const items = await callPages<OperatorAnswer>(options, terminal, '/v1/operators');
      if (options.json) return terminal.out(JSON.stringify({ items }));
      const head = ['ID', 'NAME', 'ROLE', 'PERMISSIONS', 'CREDENTIAL', 'EXPIRES', 'LAST USED', 'TENANT'];
      for (const line of tableLines([head, ...items.map(rowOf)])) terminal.out(line);
    });
  withAdminOptions(operator.command('remove'))
    .description('remove an operator; its token is refused at once')
    .argument('<id>', 'id or name')
    .action(async (id: string, options: AdminOptions) => {
      await callAdmin(options, terminal, { method: 'DELETE', path: `/v1/operators/${encodeURIComponent(id)}` });
      terminal.out(options.json ? JSON.stringify({ id, removed: true }) : `${id} is removed`);
    });
}

const rowOf = (item: OperatorAnswer): string[] => [
  item.id,
  item.name,
  item.role ?? '-',
  item.permissions.join(',') || '-',
  item.certificate ?? (item.token_prefix === null ? 'token' : `${item.token_prefix}…`),
  item.expires_at ?? 'never',
  item.last_used_at ?? 'never',
  item.tenant ?? '-',
];
