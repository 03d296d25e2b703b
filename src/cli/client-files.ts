// `doorward client apply FILE` and `client export`: many clients as one file, for a repository. Applying twice changes nothing
// the second time; clients that the file does not name stay as they are. How a file is judged is client-plan.ts.
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { type AdminOptions, AdminRefusal, callAdmin, withAdminOptions } from './admin-client.ts';
import { readClients } from './client-list.ts';
import { exported } from './client-options.ts';
import { allClients, type ClientAnswer, type Plan, planned, type Shown, signs } from './client-plan.ts';
import { CliError } from './exit-codes.ts';
import { outputFailure, type Terminal } from './terminal.ts';

interface ApplyOptions extends AdminOptions {
  readonly dryRun?: boolean;
}

/** Adds both verbs. */
export function addClientFileCommands(client: Command, terminal: Terminal): void {
  withAdminOptions(client.command('apply'))
    .description('register and change clients as a file says; twice is as good as once')
    .argument('<file>', 'YAML or JSON: {clients: [{name or client_id, issuer, scopes, …}]}; see client export')
    .option('--dry-run', 'have the sidecar judge the file, and print what would be done')
    .action(async (file: string, options: ApplyOptions) => {
      const plans = await planned(readClients(file), options, terminal);
      const report = options.json ? jsonReport(options, terminal) : textReport(terminal);
      report.begin();
      if (!options.dryRun) return carryOutAll(plans, report, options, terminal);
      for (const { shown } of plans) report.add(shown);
      report.end();
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

async function carryOutAll(plans: readonly Plan[], report: Report, options: ApplyOptions, terminal: Terminal) {
  const secrets: Shown[] = [];
  const arrived = async (done: number, step?: Shown) => {
    const failure = await terminal.unwritten?.();
    // A reader that needed no more (`| head`) takes nothing away where all is done and no secret was among it.
    if (failure === undefined || (done === plans.length && secrets.length === 0 && failure.code === 'EPIPE')) return;
    throw unshown(failure, lossesOf(failure, secrets, step), `${done} of ${plans.length} were done`);
  };
  for (const [done, plan] of plans.entries()) {
    // That a reader went with the last secret (`| head -1`) is known only when more is written: before the next one is made.
    if (plan.present === undefined && secrets.length > 0) report.pause();
    await arrived(done);
    try {
      const step = await carryOut(plan, options, terminal);
      if (step.client_secret !== undefined) secrets.push(step);
      report.add(step);
      await arrived(done + 1, step);
    } catch (error) {
      report.end(plan);
      throw error instanceof Unshown ? error : explained(error, plan, done, plans.length);
    }
  }
  report.end();
  await arrived(plans.length);
}

/** Standard output takes no more. */
class Unshown extends CliError {}

function unshown(failure: NodeJS.ErrnoException, losses: readonly string[], done: string): Unshown {
  const lines = [outputFailure(failure), ...losses, `${done}; apply the file again when this is put right`];
  return new Unshown('failure', lines.join('\n'), { cause: failure });
}

/** Secrets that nobody may have seen: that of `step`, and all others where the reader has gone without a word. */
function lossesOf({ code }: NodeJS.ErrnoException, secrets: readonly Shown[], step: Shown | undefined): string[] {
  return secrets
    .filter((one) => one === step || code === 'EPIPE')
    .map((one) => {
      const loss = one === step ? 'could not be written' : 'may not have been read';
      const remedy = `another is made by: doorward client secret add ${one.client_id}`;
      return `${one.client_id} (${one.name}) was made, and its secret ${loss}; ${remedy}`;
    });
}

async function carryOut({ wanted, present, shown }: Plan, options: AdminOptions, terminal: Terminal): Promise<Shown> {
  const { fields, client_id, issuer, secret_expires } = wanted;
  if (present === undefined) {
    const body = { client_id, issuer, secret_expires, ...fields };
    const made = (await callAdmin(options, terminal, { method: 'POST', path: '/v1/clients', body })) as ClientAnswer;
    const secret = made.client_secret === undefined ? {} : { client_secret: made.client_secret };
    return { ...shown, client_id: made.client_id, ...secret };
  }
  if (shown.action === 'keep') return shown;
  const body = Object.fromEntries(shown.changes.map(({ field }) => [field, fields[field]]));
  const path = `/v1/clients/${encodeURIComponent(present.client_id)}?issuer=${encodeURIComponent(present.issuer)}`;
  await callAdmin(options, terminal, { method: 'PATCH', path, body });
  return shown;
}

/** Prints each step when it is done: a secret that waits for the rest of the file is lost with the first step that fails. */
interface Report {
  begin(): void;
  add(step: Shown): void;
  /** Writes something that says nothing. */
  pause(): void;
  /** `failed`: the step that ended it. */
  end(failed?: Plan): void;
}

function textReport(terminal: Terminal): Report {
  return {
    begin() {},
    add({ action, name, client_id, changes, client_secret }) {
      terminal.out(`${signs[action]} ${client_id ?? '(new id)'} ${name}`);
      for (const { field, from, to } of changes) terminal.out(`    ${field}: ${from} -> ${to}`);
      if (client_secret !== undefined) terminal.out(`    secret, shown only now: ${client_secret}`);
    },
    pause: () => terminal.out(''),
    end() {},
  };
}

/** One document, written piece by piece. */
function jsonReport({ dryRun = false }: ApplyOptions, terminal: Terminal): Report {
  let separator = '';
  return {
    begin: () => terminal.out(`{"dry_run":${dryRun},"clients":[`),
    add(step) {
      terminal.out(`${separator}${JSON.stringify(step)}`);
      separator = ',';
    },
    pause: () => terminal.out(''),
    end: (failed) => terminal.out(failed === undefined ? ']}' : `],"failed":${JSON.stringify(failed.wanted.place)}}`),
  };
}

/** What failed, where it stands, and what was done before it. */
function explained(error: unknown, { wanted, present }: Plan, done: number, all: number): unknown {
  if (!(error instanceof CliError)) return error;
  const refused = error instanceof AdminRefusal && error.status < 500;
  const doubt =
    refused || present !== undefined
      ? []
      : ['whether it was made is not known: if client list shows it, give it a secret with client secret add'];
  const before = `${done} of ${all} were done before, as printed; apply the file again when this is put right`;
  const lines = error.message.split('\n').map((line) => `${wanted.place}: ${line}`);
  return new CliError(error.code, [...lines, ...doubt, before].join('\n'), { cause: error });
}
