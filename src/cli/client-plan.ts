// What `client apply` is going to do: every entry of the file is looked up, and judged by the sidecar itself, before anything
// is changed.
import { type AdminOptions, AdminRefusal, callAdmin, callPages } from './admin-client.ts';
import type { WantedClient } from './client-list.ts';
import { differences } from './client-options.ts';
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

/** How each action is marked. */
export const signs = { add: '+', change: '~', keep: '=' } as const;

/** One step, as it is printed. */
export interface Shown {
  readonly action: keyof typeof signs;
  readonly name: string;
  readonly client_id?: string;
  readonly changes: readonly { readonly field: string; readonly from: string; readonly to: string }[];
  readonly client_secret?: string;
}

/** One entry of the file, and what it comes to. */
export interface Plan {
  readonly wanted: WantedClient;
  /** The client that it means; undefined for a new one. */
  readonly present: ClientAnswer | undefined;
  readonly shown: Shown;
  /** Issuer and id, or name where the id is given later: two entries of one identity contradict each other. */
  readonly identity: string;
  /** Where it is, or is going to be; undefined where nothing says. */
  readonly issuer: string | undefined;
}

/**
 * The steps, in the order of the file; nothing is changed. Throws CliError with every entry that cannot be carried out. With
 * `dryRun` an operator who may only read is told so on standard error, and gets the steps unjudged.
 */
export async function planned(
  wanted: readonly WantedClient[],
  options: AdminOptions & { readonly dryRun?: boolean },
  terminal: Terminal,
): Promise<readonly Plan[]> {
  const judge = new Judge(options, terminal);
  const plans: Plan[] = [];
  const problems: string[] = [];
  for (const one of wanted) {
    const found = await judge.plan(one).catch((error) => problemsOf(error, one));
    if (Array.isArray(found)) problems.push(...found);
    else plans.push(found as Plan);
  }
  const twice = [...doubles(plans), ...namesakes(plans)];
  if (problems.length + twice.length === 0) return plans;
  const code = problems.length > 0 ? 'refused_by_sidecar' : 'usage';
  throw new CliError(code, [...problems, ...twice, 'nothing was changed'].join('\n'));
}

/** Answers that are about the entry, and not about the call. */
const ABOUT_THE_ENTRY: ReadonlySet<number> = new Set([400, 404, 409, 413, 422]);

function problemsOf(error: unknown, { place }: WantedClient): string[] {
  if (!(error instanceof AdminRefusal) || !ABOUT_THE_ENTRY.has(error.status)) throw error;
  return error.problems.map((problem) => `${place}: ${problem}`);
}

function doubles(plans: readonly Plan[]): string[] {
  const first = Map.groupBy(plans, ({ identity }) => identity);
  return [...first.values()]
    .filter((group) => group.length > 1)
    .map((group) => `${group.map(({ wanted }) => wanted.place).join(' and ')} mean the same client`);
}

/** Entries by name alone that a namesake of the same file makes ambiguous: the file could not be applied a second time. */
function namesakes(plans: readonly Plan[]): string[] {
  const named = plans.filter(({ wanted }) => wanted.client_id === undefined);
  return named.flatMap(({ wanted, shown, issuer, identity }) =>
    plans
      .filter((other) => other.identity !== identity && other.issuer === issuer && other.shown.name === shown.name)
      .map((other) => `${wanted.place} needs client_id: ${other.wanted.place} is going to have the same name`),
  );
}

/** What the sidecar says of a call that it did not carry out. */
interface Judgement {
  readonly issuer: string;
  readonly client_id: string | null;
  readonly changed?: readonly string[];
}

class Judge {
  readonly #options: AdminOptions & { readonly dryRun?: boolean };
  readonly #terminal: Terminal;
  #mayOnlyRead = false;

  constructor(options: AdminOptions & { readonly dryRun?: boolean }, terminal: Terminal) {
    this.#options = options;
    this.#terminal = terminal;
  }

  async plan(wanted: WantedClient): Promise<Plan> {
    const present = await this.#presentOf(wanted);
    return present === undefined ? this.#newOne(wanted) : this.#knownOne(wanted, present);
  }

  async #newOne(wanted: WantedClient): Promise<Plan> {
    const { client_id, issuer, name, secret_expires, fields } = wanted;
    const body = { client_id, issuer, secret_expires, ...fields };
    const judged = await this.#judge('POST', '/v1/clients?dry_run=true', body);
    const changes = Object.entries(fields).map(([field, to]) => ({ field, from: '-', to: JSON.stringify(to) }));
    const shown = { action: 'add' as const, name: name ?? client_id ?? '', ...(client_id && { client_id }), changes };
    const home = judged?.issuer ?? issuer;
    const identity = JSON.stringify([home, client_id ?? null, client_id === undefined && name]);
    return { wanted, present: undefined, shown, identity, issuer: home };
  }

  async #knownOne(wanted: WantedClient, present: ClientAnswer): Promise<Plan> {
    const { client_id, issuer } = present;
    const before: Readonly<Record<string, unknown>> = { ...present };
    const different = differences(wanted.fields, before);
    const path = `/v1/clients/${encodeURIComponent(client_id)}?issuer=${encodeURIComponent(issuer)}&dry_run=true`;
    const body = Object.fromEntries(different.map((field) => [field, wanted.fields[field]]));
    const judged = different.length === 0 ? undefined : await this.#judge('PATCH', path, body);
    // The sidecar knows more spellings of one value than a comparison of texts does.
    const fields = judged?.changed === undefined ? different : different.filter((one) => judged.changed?.includes(one));
    const changes = fields.map((field) => ({
      field,
      from: JSON.stringify(before[field] ?? null),
      to: JSON.stringify(wanted.fields[field]),
    }));
    const action = changes.length > 0 ? 'change' : 'keep';
    const shown = { action, name: wanted.name ?? present.name, client_id, changes } as const;
    return { wanted, present, shown, identity: JSON.stringify([issuer, client_id, false]), issuer };
  }

  /** By id, or by name where only one client has it. */
  async #presentOf({ client_id, issuer, name }: WantedClient): Promise<ClientAnswer | undefined> {
    if (client_id === undefined) {
      const all = await allClients(this.#options, this.#terminal, { issuer, name });
      const found = all.filter(({ external }) => !external);
      if (found.length < 2) return found[0];
      const problem = `${found.length} clients are called ${name}: say which by client_id`;
      throw new AdminRefusal('refused_by_sidecar', 409, [problem], 'ambiguous');
    }
    const query = issuer === undefined ? '' : `?issuer=${encodeURIComponent(issuer)}`;
    const path = `/v1/clients/${encodeURIComponent(client_id)}${query}`;
    try {
      return (await callAdmin(this.#options, this.#terminal, { method: 'GET', path })) as ClientAnswer;
    } catch (error) {
      if (error instanceof AdminRefusal && error.status === 404) return undefined;
      throw error;
    }
  }

  async #judge(method: 'POST' | 'PATCH', path: string, body: unknown): Promise<Judgement | undefined> {
    if (this.#mayOnlyRead) return undefined;
    try {
      return (await callAdmin(this.#options, this.#terminal, { method, path, body })) as Judgement;
    } catch (error) {
      if (!this.#options.dryRun || !(error instanceof AdminRefusal) || error.status !== 403) throw error;
      this.#mayOnlyRead = true;
      this.#terminal.err('this operator may only read clients, so the sidecar has not judged what is written');
      return undefined;
    }
  }
}
