// `doorward grant`: who let which client act in whose name, and ending one, those of a session, or all of a subject (but the
// current one). `doorward revoke` of a client or tenant ends theirs too.
import type { Command } from 'commander';
import { type AdminOptions, callAdmin, callPages, withAdminOptions } from './admin-client.ts';
import { CliError } from './exit-codes.ts';
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
  const grant = program.command('grant').description('list grants of people to clients, end one or all of somebody');
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
  addEnd(grant, terminal);
}

interface EndOptions extends AdminOptions {
  readonly subject?: string;
  readonly session?: string;
  readonly exceptSession?: string;
  readonly exceptGrant?: string;
  readonly reason?: string;
}

function addEnd(grant: Command, terminal: Terminal): void {
  withAdminOptions(grant.command('end'))
    .description('refuse the refresh and access tokens of one grant, or of all of a session or subject, everywhere')
    .argument('[id]', 'id as printed by `grant list`')
    .option('--subject <id>', 'all of this subject')
    .option('--session <id>', 'all of this session')
    .option('--except-session <id>', 'with --subject: but not those of this session')
    .option('--except-grant <id>', 'with --subject: but not this one')
    .option('--reason <text>', 'with --subject or --session: why, for the list of revocations')
    .action(async (id: string | undefined, options: EndOptions) => {
      const { subject, session, exceptSession, exceptGrant, reason } = options;
      const many = { subject, session, except_session: exceptSession, except_grant: exceptGrant, reason };
      const isMany = Object.values(many).some((value) => value !== undefined);
      if ((id === undefined) !== isMany)
        throw new CliError('usage', 'give the id of one grant, or --subject, or --session');
      if (id === undefined) return endMany(many, options, terminal);
      await callAdmin(options, terminal, { method: 'DELETE', path: `/v1/grants/${encodeURIComponent(id)}` });
      terminal.out(options.json ? JSON.stringify({ id, ended: true }) : `${id} has ended`);
    });
}

interface EndAnswer {
  readonly grants: number;
  readonly codes: number;
  readonly applied: string;
}

async function endMany(body: object, options: AdminOptions, terminal: Terminal): Promise<void> {
  const answer = (await callAdmin(options, terminal, { method: 'POST', path: '/v1/grants/end', body })) as EndAnswer;
  if (options.json) return terminal.out(JSON.stringify(answer));
  const { grants, codes, applied } = answer;
  const where = applied === 'all' ? '' : '; pending for other replicas until Redis is back';
  terminal.out(`grants ended: ${grants}, codes dropped: ${codes}${where}`);
}

const HEAD = ['ID', 'CLIENT', 'SUBJECT', 'SCOPES', 'SINCE', 'IDLE UNTIL'];
const cells = ({ id, client, subject, scopes, created_at: since, idle_until: until }: GrantRow) => [
  ...[id, client, subject, scopes.join(' '), since, until],
];

function allGrants(options: ListOptions, terminal: Terminal): Promise<readonly GrantRow[]> {
  const { subject, client, session, tenant } = options;
  return callPages(options, terminal, '/v1/grants', { subject, client, session, tenant });
}
