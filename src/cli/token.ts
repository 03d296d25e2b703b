// `doorward token issue` and `token inspect`. The issued token alone goes to standard output, so that it can be piped.
import type { Command } from 'commander';
import { type AdminOptions, callAdmin, withAdminOptions } from './admin-client.ts';
import { CliError } from './exit-codes.ts';
import { readToken, type Terminal } from './terminal.ts';

interface IssueOptions extends AdminOptions {
  readonly subject: string;
  readonly client: string;
  readonly issuer?: string;
  readonly scope?: readonly string[];
  readonly role?: readonly string[];
  readonly tenant?: string;
  readonly session?: string;
  readonly audience?: readonly string[];
  readonly lifetime?: string;
  readonly claims?: string;
}

/** Adds the noun. */
export function addToken(program: Command, terminal: Terminal): void {
  const token = program.command('token').description('issue and inspect access tokens');
  withAdminOptions(token.command('issue'))
    .description('issue an access token of our own issuer')
    .requiredOption('--subject <id>', 'who it is for')
    .option('--client <id>', 'client it is issued to', 'cli')
    .option('--issuer <name>', 'issuer block; default: the only one with `sign`')
    .option('--scope <word...>', 'scopes')
    .option('--role <word...>', 'roles')
    .option('--tenant <id>', 'tenant')
    .option('--session <id>', 'session')
    .option('--audience <text...>', 'audiences; default: those of the issuer block')
    .option('--lifetime <duration>', 'such as 15m, at most max_lifetime of the issuer; default: as its `sign` says')
    .option('--claims <json>', 'further claims as a JSON object')
    .action((options: IssueOptions) => issue(options, terminal));
  withAdminOptions(token.command('inspect'))
    .description('say whether a token is active, and what it says')
    .argument('[source]', '- for standard input, or a file', '-')
    .action((source: string, options: AdminOptions) => inspect(source, options, terminal));
}

async function issue(options: IssueOptions, terminal: Terminal): Promise<void> {
  const { subject, client, issuer, scope, role, tenant, session, audience, lifetime } = options;
  const claims = options.claims === undefined ? undefined : parseClaims(options.claims);
  const body = { subject, client, issuer, scopes: scope, roles: role, tenant, session, audience, lifetime, claims };
  const answer = (await callAdmin(options, terminal, { method: 'POST', path: '/v1/tokens', body })) as IssuedAnswer;
  if (options.json) terminal.out(JSON.stringify(answer));
  else {
    terminal.out(answer.token);
    terminal.err(`${answer.token_id} of ${answer.issuer}, expires ${answer.expires_at}`);
  }
}

interface IssuedAnswer {
  readonly token: string;
  readonly token_id: string;
  readonly issuer: string;
  readonly expires_at: string;
}

function parseClaims(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CliError('usage', '--claims needs a JSON object', { cause });
  }
}

async function inspect(source: string, options: AdminOptions, terminal: Terminal): Promise<void> {
  const body = { token: await readToken(source, terminal) };
  const answer = await callAdmin(options, terminal, { method: 'POST', path: '/v1/tokens/introspect', body });
  terminal.out(options.json ? JSON.stringify(answer) : JSON.stringify(answer, undefined, 2));
}
