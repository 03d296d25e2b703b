// `doorward revoke`: cut off a leaked token, or everything of a subject, session, client, tenant or key; list and take back.
import type { Command } from 'commander';
import { type AdminOptions, callAdmin, withAdminOptions } from './admin-client.ts';
import { readToken, type Terminal, tableLines } from './terminal.ts';

interface RevokeOptions extends AdminOptions {
  readonly issuer?: string;
  readonly until?: string;
  readonly notBefore?: string;
  readonly reason?: string;
  readonly dryRun?: boolean;
}

const kinds = ['subject', 'session', 'client', 'tenant', 'key'] as const;

/** Adds the verb with its nouns. */
export function addRevoke(program: Command, terminal: Terminal): void {
  const revoke = program.command('revoke').description('revoke tokens, list revocations, take one back');
  common(revoke.command('token'))
    .description('revoke one token, as it was leaked')
    .argument('[source]', '- for standard input, or a file', '-')
    .action(async (source: string, options: RevokeOptions) => {
      const { reason, dryRun } = options;
      const token = await readToken(source, terminal);
      await send({ token, reason, dry_run: dryRun }, options, terminal);
    });
  for (const kind of kinds) addKind(revoke, kind, terminal);
  addList(revoke, terminal);
  withAdminOptions(revoke.command('undo'))
    .description('take a revocation back')
    .argument('<id>', 'id as printed by `revoke list`')
    .action(async (id: string, options: AdminOptions) => {
      await callAdmin(options, terminal, { method: 'DELETE', path: `/v1/revocations/${encodeURIComponent(id)}` });
      terminal.out(options.json ? JSON.stringify({ id, undone: true }) : `${id} is taken back`);
    });
}

function common(command: Command): Command {
  return withAdminOptions(command)
    .option('--reason <text>', 'why, for the list')
    .option('--dry-run', 'count what would be refused, and change nothing');
}

function addKind(revoke: Command, kind: (typeof kinds)[number], terminal: Terminal): void {
  common(revoke.command(kind))
    .description(`refuse every token of a ${kind}`)
    .argument('<id>', kind === 'key' ? 'kid; after -- when it begins with -' : `${kind} as the issuer writes it`)
    .option('--issuer <name>', 'issuer block; default: the only one')
    .option('--until <when>', 'a time, a duration such as 24h, or forever; default: as long as today’s tokens can live')
    .option('--not-before <when>', 'refuse only what was issued before: a time, or now; later logins pass')
    .action(async (id: string, options: RevokeOptions) => {
      const { issuer, until, notBefore, reason, dryRun } = options;
      await send({ kind, id, issuer, until, not_before: notBefore, reason, dry_run: dryRun }, options, terminal);
    });
}

interface RevokeAnswer {
  readonly id: string | null;
  readonly until: string | null;
  readonly applied?: string;
  readonly would_refuse?: number;
  readonly harmless?: string;
}

async function send(body: object, options: AdminOptions, terminal: Terminal): Promise<void> {
  const answer = (await callAdmin(options, terminal, {
    method: 'POST',
    path: '/v1/revocations',
    body,
  })) as RevokeAnswer;
  terminal.out(options.json ? JSON.stringify(answer) : sentence(answer));
}

function sentence({ id, until, applied, would_refuse: count, harmless }: RevokeAnswer): string {
  if (harmless !== undefined) return `nothing to revoke: no replica accepts this token (${harmless})`;
  if (applied === undefined) return `would refuse ${count} of the tokens this replica remembers, until ${until}`;
  const where = applied === 'all' ? 'on every replica' : 'on this replica; pending for the others until Redis is back';
  return `${id} refused ${where}, until ${until}`;
}

interface ListAnswer {
  readonly items: readonly Readonly<Record<string, unknown>>[];
  readonly next?: string;
}

function addList(revoke: Command, terminal: Terminal): void {
  withAdminOptions(revoke.command('list'))
    .description('active revocations, newest first')
    .option('--kind <kind>', 'only this kind')
    .action(async (options: AdminOptions & { readonly kind?: string }) => {
      const items: Readonly<Record<string, unknown>>[] = [];
      const query = new URLSearchParams({
        limit: '1000',
        ...(options.kind === undefined ? {} : { kind: options.kind }),
      });
      for (let more = true; more; ) {
        const page = (await callAdmin(options, terminal, {
          method: 'GET',
          path: `/v1/revocations?${query}`,
        })) as ListAnswer;
        items.push(...page.items);
        more = page.next !== undefined;
        if (page.next !== undefined) query.set('cursor', page.next);
      }
      if (options.json) terminal.out(JSON.stringify(items));
      else for (const line of tableLines([HEAD, ...items.map(cells)])) terminal.out(line);
    });
}

const HEAD = ['ID', 'KIND', 'REVOKED', 'UNTIL', 'AT', 'REASON'];
const cells = (item: Readonly<Record<string, unknown>>) =>
  [item.id, item.kind, item.jti ?? item.revoked_id, item.until, item.revoked_at, item.reason].map(String);
