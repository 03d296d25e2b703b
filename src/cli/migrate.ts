// `doorward migrate`: brings the schema of the configured PostgreSQL to what this program needs, or says how far it is. Reads
// the configuration and needs no running sidecar.
import type { Command } from 'commander';
import { CliError } from './exit-codes.ts';
import { loadOrExplain } from './load-config.ts';
import { type Terminal, tableLines } from './terminal.ts';

interface MigrateOptions {
  readonly config: string;
  readonly dryRun?: boolean;
  readonly status?: boolean;
  readonly json?: boolean;
}

/** Adds the verb. */
export function addMigrate(program: Command, terminal: Terminal): void {
  program
    .command('migrate')
    .description('bring the PostgreSQL schema up to date; safe beside running replicas and other migrations')
    .option('-c, --config <file>', 'configuration', 'sidecar.yaml')
    .option('--dry-run', 'only print what would be applied')
    .option('--status', 'only print what was applied, when and by which release, and what is pending')
    .option('--json', 'print JSON')
    .action((options: MigrateOptions) => run(options, terminal));
}

async function run(options: MigrateOptions, terminal: Terminal): Promise<void> {
  const { openSchemaDesk } = await import('../app/schema-desk.ts');
  const desk = openSchemaDesk(await loadOrExplain(options.config, terminal));
  if (desk === undefined) throw new CliError('configuration_refused', `${options.config} names no postgres.url`);
  if (options.status || options.dryRun) {
    show(options, await translated(desk.status()), terminal);
    return;
  }
  const applied = await translated(desk.migrate());
  if (options.json) return terminal.out(JSON.stringify({ applied }));
  for (const { number, name } of applied) terminal.out(`applied ${number} ${name}`);
  terminal.out(applied.length === 0 ? 'nothing to do, the schema is up to date' : 'the schema is up to date');
}

type Status = Awaited<ReturnType<NonNullable<Desk>['status']>>;
type Desk = ReturnType<typeof import('../app/schema-desk.ts').openSchemaDesk>;

function show({ status, json }: MigrateOptions, found: Status, terminal: Terminal): void {
  if (json) {
    terminal.out(JSON.stringify(found));
    return;
  }
  if (status) {
    terminal.out(`PostgreSQL ${found.server}`);
    const rows = found.applied.map(({ number, name, release, applied_at }) => [`${number}`, name, release, applied_at]);
    for (const line of tableLines([['NUMBER', 'NAME', 'RELEASE', 'APPLIED'], ...rows])) terminal.out(line);
  }
  for (const { number, name } of found.pending) terminal.out(`pending ${number} ${name}`);
  if (found.pending.length === 0) terminal.out('nothing is pending');
}

/** Failures in the user's words, each with its exit code. */
async function translated<T>(call: Promise<T>): Promise<T> {
  const { SchemaRefused } = await import('../app/schema-desk.ts');
  try {
    return await call;
  } catch (error) {
    if (error instanceof SchemaRefused) throw new CliError('schema_refused', error.message, { cause: error });
    const { SidecarError } = await import('../core/errors.ts');
    throw error instanceof SidecarError ? new CliError('failure', error.message, { cause: error }) : error;
  }
}
