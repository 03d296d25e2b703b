// `doorward client`: register, list, show, change, disable, remove clients; their secrets; initial access tokens. Files of
// many clients are client-files.ts's.
import type { Command } from 'commander';
import { type AdminOptions, callAdmin, withAdminOptions } from './admin-client.ts';
import { addClientFileCommands } from './client-files.ts';
import { fieldsOf, type PropertyOptions, withProperties } from './client-options.ts';
import { allClients, type ClientAnswer } from './client-plan.ts';
import { type Terminal, tableLines } from './terminal.ts';

interface AddOptions extends PropertyOptions {
  readonly clientId?: string;
  readonly secretExpires?: string;
}

interface ListOptions extends AdminOptions {
  readonly issuer?: string;
  readonly tier?: string;
  readonly tenant?: string;
  readonly name?: string;
  readonly disabled?: boolean;
}

interface OneOptions extends AdminOptions {
  readonly issuer?: string;
}

/** Adds the noun. */
export function addClientCommand(program: Command, terminal: Terminal): void {
  const client = program
    .command('client')
    .description('OAuth clients and what is known of foreign ones (needs postgres)');
  addRegistration(client, terminal);
  addReading(client, terminal);
  addChanges(client, terminal);
  addClientFileCommands(client, terminal);
  addSecrets(client, terminal);
  addInitialTokens(client, terminal);
}

const pathOf = (id: string, issuer: string | undefined, more = '') =>
  `/v1/clients/${encodeURIComponent(id)}${more}${issuer === undefined ? '' : `?issuer=${encodeURIComponent(issuer)}`}`;

function addRegistration(client: Command, terminal: Terminal): void {
  withProperties(withAdminOptions(client.command('add')))
    .description('register a client; its secret is printed once')
    .argument('<name>', 'for people, such as billing')
    .option('--client-id <id>', 'id to use (default: a random one); needed for clients of foreign issuers')
    .option('--secret-expires <duration>', 'such as 90d; default: never')
    .action(async (name: string, options: AddOptions) => {
      const { issuer, clientId: client_id, secretExpires: secret_expires } = options;
      const body = { name, issuer, client_id, secret_expires, ...fieldsOf(options) };
      const answer = (await callAdmin(options, terminal, {
        method: 'POST',
        path: '/v1/clients',
        body,
      })) as ClientAnswer;
      if (options.json) return terminal.out(JSON.stringify(answer));
      for (const line of welcome(answer)) terminal.err(line);
      // The id, and the secret where there is one, alone on standard output: what a script keeps.
      terminal.out(answer.client_id);
      if (answer.client_secret !== undefined) terminal.out(answer.client_secret);
    });
}

function welcome(answer: ClientAnswer): string[] {
  const lines = [`${answer.name} is registered${pending(answer)}; the id and, shown only now, the secret:`];
  if (answer.external) return [`${answer.name} is known${pending(answer)}; its id:`];
  if (answer.client_secret === undefined) return [`${answer.name} is registered${pending(answer)}; its id:`];
  const endpoint = `${answer.issuer.replace(/\/$/, '')}/.doorward/oauth/token`;
  const scope = answer.scopes.length === 0 ? '' : ` --data-urlencode 'scope=${answer.scopes.join(' ')}'`;
  if (answer.grant_types.includes('client_credentials')) {
    lines.push(
      `  try it (curl asks for the secret): curl --user ${answer.client_id} --data grant_type=client_credentials${scope} ${endpoint}`,
    );
  }
  return lines;
}

const pending = ({ applied }: ClientAnswer) =>
  applied === 'pending' ? ' (here; the other replicas follow when Redis is back)' : '';

function addReading(client: Command, terminal: Terminal): void {
  withAdminOptions(client.command('list'))
    .description('clients, newest first')
    .option('--issuer <name>', 'of this issuer only')
    .option('--tier <tier>', 'of this tier only')
    .option('--tenant <tenant>', 'of this tenant only')
    .option('--name <name>', 'of this name only')
    .option('--disabled', 'disabled ones only')
    .action(async (options: ListOptions) => {
      const { issuer, tier, tenant, name, disabled } = options;
      const items = await allClients(options, terminal, {
        issuer,
        tier,
        tenant,
        name,
        disabled: disabled ? 'true' : undefined,
      });
      if (options.json) return terminal.out(JSON.stringify({ items }));
      const head = ['CLIENT ID', 'NAME', 'ISSUER', 'KIND', 'TIER', 'TENANT', 'STATE'];
      for (const line of tableLines([head, ...items.map(rowOf)])) terminal.out(line);
    });
  withAdminOptions(client.command('show'))
    .description('one client with its secrets by id')
    .argument('<id>', 'client id')
    .option('--issuer <name>', 'where several issuers have one of this id')
    .action(async (id: string, options: OneOptions) => {
      const path = pathOf(id, options.issuer);
      const answer = (await callAdmin(options, terminal, { method: 'GET', path })) as ClientAnswer;
      if (options.json) return terminal.out(JSON.stringify(answer));
      for (const line of tableLines(Object.entries(answer).map(([name, value]) => [name, cell(value)])))
        terminal.out(line);
    });
}

const cell = (value: unknown) => (typeof value === 'string' ? value : value === null ? '-' : JSON.stringify(value));

const rowOf = (item: ClientAnswer): string[] => [
  item.client_id,
  item.name,
  item.issuer,
  item.external ? 'external' : item.type,
  item.tier ?? '-',
  item.tenant ?? '-',
  item.disabled ? 'disabled' : 'enabled',
];

function addChanges(client: Command, terminal: Terminal): void {
  const patch = async (id: string, options: OneOptions, body: object, done: string) => {
    const path = pathOf(id, options.issuer);
    const answer = (await callAdmin(options, terminal, { method: 'PATCH', path, body })) as ClientAnswer;
    terminal.out(options.json ? JSON.stringify(answer) : `${id} ${done}${pending(answer)}`);
  };
  withProperties(withAdminOptions(client.command('set')))
    .description('change what is named; the rest stays')
    .argument('<id>', 'client id')
    .option('--name <name>', 'another name')
    .action((id: string, options: PropertyOptions & { readonly name?: string }) =>
      patch(id, options, { ...fieldsOf(options), name: options.name }, 'is changed'),
    );
  for (const [verb, disabled, done] of [
    ['disable', true, 'is disabled: its tokens are refused'],
    ['enable', false, 'is enabled'],
  ] as const) {
    withAdminOptions(client.command(verb))
      .description(disabled ? 'refuse all of its tokens, on every replica at once' : 'take disabling back')
      .argument('<id>', 'client id')
      .option('--issuer <name>', 'where several issuers have one of this id')
      .action((id: string, options: OneOptions) => patch(id, options, { disabled }, done));
  }
  withAdminOptions(client.command('remove'))
    .description('remove a client; tokens that we issued to it are refused at once')
    .argument('<id>', 'client id')
    .option('--issuer <name>', 'where several issuers have one of this id')
    .action(async (id: string, options: OneOptions) => {
      await callAdmin(options, terminal, { method: 'DELETE', path: pathOf(id, options.issuer) });
      terminal.out(options.json ? JSON.stringify({ client_id: id, removed: true }) : `${id} is removed`);
    });
}

function addSecrets(client: Command, terminal: Terminal): void {
  const secret = client.command('secret').description('secrets of a client: two may live, so that it can change over');
  withAdminOptions(secret.command('add'))
    .description('add a secret; it is printed once')
    .argument('<id>', 'client id')
    .option('--issuer <name>', 'where several issuers have one of this id')
    .option('--expires <duration>', 'such as 90d; default: never')
    .action(async (id: string, options: OneOptions & { readonly expires?: string }) => {
      const path = pathOf(id, options.issuer, '/secrets');
      const call = { method: 'POST', path, body: { expires: options.expires } } as const;
      const answer = (await callAdmin(options, terminal, call)) as {
        readonly id: string;
        readonly client_secret: string;
      };
      if (options.json) return terminal.out(JSON.stringify(answer));
      terminal.err(`secret ${answer.id} is added; it is shown only now:`);
      terminal.out(answer.client_secret);
    });
  withAdminOptions(secret.command('remove'))
    .description('remove a secret by its id (see client show)')
    .argument('<id>', 'client id')
    .argument('<secret-id>', 'cs_…, not the secret itself')
    .option('--issuer <name>', 'where several issuers have one of this id')
    .action(async (id: string, secretId: string, options: OneOptions) => {
      const path = pathOf(id, options.issuer, `/secrets/${encodeURIComponent(secretId)}`);
      await callAdmin(options, terminal, { method: 'DELETE', path });
      terminal.out(options.json ? JSON.stringify({ id: secretId, removed: true }) : `${secretId} is removed`);
    });
}

interface InitialToken {
  readonly id: string;
  readonly uses_left: number;
  readonly created_by: string;
  readonly expires_at: string;
  readonly token?: string;
}

const INITIAL = '/v1/clients/initial-access-tokens';

function addInitialTokens(client: Command, terminal: Terminal): void {
  const token = client.command('token').description('initial access tokens: who holds one may register clients');
  withAdminOptions(token.command('add'))
    .description('make one; it is printed once')
    .option('--uses <count>', 'registrations it allows', '1')
    .option('--expires <duration>', 'how long it lives', '24h')
    .action(async (options: AdminOptions & { readonly uses: string; readonly expires: string }) => {
      const body = { uses: Number(options.uses), expires: options.expires };
      const answer = (await callAdmin(options, terminal, { method: 'POST', path: INITIAL, body })) as InitialToken;
      if (options.json) return terminal.out(JSON.stringify(answer));
      terminal.err(`${answer.id} allows ${answer.uses_left} until ${answer.expires_at}; the token is shown only now:`);
      terminal.out(answer.token ?? '');
    });
  withAdminOptions(token.command('list'))
    .description('those that can still be used')
    .action(async (options: AdminOptions) => {
      const answer = (await callAdmin(options, terminal, { method: 'GET', path: INITIAL })) as {
        readonly items: readonly InitialToken[];
      };
      if (options.json) return terminal.out(JSON.stringify(answer));
      const rows = answer.items.map((item) => [item.id, String(item.uses_left), item.created_by, item.expires_at]);
      for (const line of tableLines([['ID', 'USES LEFT', 'CREATED BY', 'EXPIRES'], ...rows])) terminal.out(line);
    });
  withAdminOptions(token.command('remove'))
    .description('withdraw one; clients that registered with it stay')
    .argument('<token-id>', 'it_…, not the token itself')
    .action(async (id: string, options: AdminOptions) => {
      await callAdmin(options, terminal, { method: 'DELETE', path: `${INITIAL}/${encodeURIComponent(id)}` });
      terminal.out(options.json ? JSON.stringify({ id, removed: true }) : `${id} is removed`);
    });
}
