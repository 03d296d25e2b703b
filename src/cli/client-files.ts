// `doorward client apply FILE` and `client export`: many clients as one file, for a repository. Applying twice changes nothing
// the second time; clients that the file does not name stay as they are.
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { type AdminOptions, callAdmin, callPages, withAdminOptions } from './admin-client.ts';
import { differences, exported, readClients, type WantedClient } from './client-options.ts';
import { CliError } from './exit-codes.ts';
import type { Terminal } from './terminal.ts';

/** A client as the API answers it. */
export interface ClientAnswer {
  readonly client_id: string;
  readonly issuer: string;
  readonly external: boolean;
  readonly name: string;
  readonly type: string;
  readonly grant_types: readonly string[];
  readonly scopes: readonly string[];
  readonly tier: string | null;
  readonly tenant: string | null;
  readonly disabled: boolean;
  readonly version: number;
  readonly applied?: 'all' | 'pending';
  readonly client_secret?: string;
}

/** All clients that the filter selects, page by page. */
export function allClients(
  options: AdminOptions,
  terminal: Terminal,
  filter: Readonly<Record<string, string | undefined>>,
): Promise<readonly ClientAnswer[]> {
  return callPages(options, terminal, '/v1/clients', filter);
}

/** Adds both verbs. */
export function addClientFileCommands(client: Command, terminal: Terminal): void {
  withAdminOptions(client.command('apply'))
    .description('register and change clients as a file says; twice is as good as once')
    .argument('<file>', 'YAML or JSON: {clients: [{name or client_id, issuer, scopes, …}]}; see client export')
    .option('--dry-run', 'print what would be done')
    .action(async (file: string, options: AdminOptions & { readonly dryRun?: boolean }) => {
      const plans = await planned(readClients(file), options, terminal);
      const done = [];
      for (const plan of plans) done.push(options.dryRun ? plan.shown : await carryOut(plan, options, terminal));
      if (options.json) return terminal.out(JSON.stringify({ dry_run: options.dryRun ?? false, clients: done }));
      for (const { name, action, changes, client_id } of done) {
        terminal.out(`${SIGNS[action]} ${client_id ?? '(new id)'} ${name}`);
        for (const { field, from, to } of changes) terminal.out(`    ${field}: ${from} -> ${to}`);
      }
      for (const { client_secret, client_id } of done)
        if (client_secret !== undefined) terminal.out(`secret of ${client_id}, shown only now: ${client_secret}`);
    });
  withAdminOptions(client.command('export'))
    .description('all clients as client apply takes them, without secrets')
    .option('--issuer <name>', 'of this issuer only')
    .action(async (options: AdminOptions & { readonly issuer?: string }) => {
      const items = await allClients(options, terminal, { issuer: options.issuer });
      const document = { clients: items.toReversed().map((item) => exported({ ...item })) };
      terminal.out(options.json ? JSON.stringify(document) : stringify(document).trimEnd());
    });
}

const SIGNS = { add: '+', change: '~', keep: '=' } as const;

/** One step, as it is printed. */
interface Shown {
  readonly action: keyof typeof SIGNS;
  readonly name: string;
  readonly client_id?: string;
  readonly changes: readonly { readonly field: string; readonly from: string; readonly to: string }[];
  readonly client_secret?: string;
}

interface Plan {
  readonly wanted: WantedClient;
  readonly present: ClientAnswer | undefined;
  readonly shown: Shown;
}

/** Looks everything up before anything is changed. */
async function planned(
  wanted: readonly WantedClient[],
  options: AdminOptions,
  terminal: Terminal,
): Promise<readonly Plan[]> {
  const plans: Plan[] = [];
  for (const one of wanted) plans.push(planOf(one, await presentOf(one, options, terminal)));
  const ids = plans.flatMap(({ present }) => (present === undefined ? [] : [`${present.issuer} ${present.client_id}`]));
  if (new Set(ids).size < ids.length) throw new CliError('usage', 'two entries of the file mean the same client');
  return plans;
}

function planOf(wanted: WantedClient, present: ClientAnswer | undefined): Plan {
  const name = wanted.name ?? wanted.client_id ?? '';
  const { client_id } = present ?? wanted;
  const before: Readonly<Record<string, unknown>> = { ...present };
  const changes = differences(wanted.fields, before).map((field) => ({
    field,
    from: present === undefined ? '-' : JSON.stringify(before[field] ?? null),
    to: JSON.stringify(wanted.fields[field]),
  }));
  const action = present === undefined ? 'add' : changes.length > 0 ? 'change' : 'keep';
  return { wanted, present, shown: { action, name, ...(client_id === undefined ? {} : { client_id }), changes } };
}

/** By id, or by name where only one client has it. */
async function presentOf(
  { client_id, issuer, name }: WantedClient,
  options: AdminOptions,
  terminal: Terminal,
): Promise<ClientAnswer | undefined> {
  if (client_id === undefined) {
    const found = (await allClients(options, terminal, { issuer, name })).filter(({ external }) => !external);
    if (found.length < 2) return found[0];
    throw new CliError('usage', `${found.length} clients are called ${name}: say which by client_id`);
  }
  const query = issuer === undefined ? '' : `?issuer=${encodeURIComponent(issuer)}`;
  const path = `/v1/clients/${encodeURIComponent(client_id)}${query}`;
  try {
    return (await callAdmin(options, terminal, { method: 'GET', path })) as ClientAnswer;
  } catch (error) {
    if (error instanceof CliError && error.exitCode === new CliError('not_found', '').exitCode) return undefined;
    throw error;
  }
}

async function carryOut({ wanted, present, shown }: Plan, options: AdminOptions, terminal: Terminal): Promise<Shown> {
  const { fields, client_id, issuer } = wanted;
  if (present === undefined) {
    const body = { client_id, issuer, ...fields };
    const made = (await callAdmin(options, terminal, { method: 'POST', path: '/v1/clients', body })) as ClientAnswer;
    const secret = made.client_secret === undefined ? {} : { client_secret: made.client_secret };
    return { ...shown, client_id: made.client_id, ...secret };
  }
  if (shown.action === 'keep') return shown;
  const changed = Object.fromEntries(shown.changes.map(({ field }) => [field, fields[field]]));
  const path = `/v1/clients/${encodeURIComponent(present.client_id)}?issuer=${encodeURIComponent(present.issuer)}`;
  await callAdmin(options, terminal, { method: 'PATCH', path, body: changed });
  return shown;
}
