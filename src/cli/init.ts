// `doorward init`: sidecar.yaml, an .env template and the operator token for a new place. Never overwrites unless told.
import { existsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { CliError } from './exit-codes.ts';
import { envTemplate, sidecarTemplate } from './init-templates.ts';
import { readToken, type Terminal } from './terminal.ts';

interface InitOptions {
  readonly config: string;
  readonly upstream: string;
  readonly issuer?: string;
  readonly tokenFile?: string;
  readonly force?: boolean;
}

/** Adds the verb. */
export function addInit(program: Command, terminal: Terminal): void {
  program
    .command('init')
    .description('write sidecar.yaml, an .env template and the operator token')
    .option('-c, --config <file>', 'file to write', 'sidecar.yaml')
    .option('--upstream <url>', 'origin of the application', 'http://127.0.0.1:3000')
    .option('--issuer <url>', 'issuer of the tokens: its metadata and keys are fetched')
    .option('--token-file <source>', 'a sample access token of that issuer: - for standard input, or a file')
    .option('--force', 'overwrite what is there')
    .action((options: InitOptions) => init(options, terminal));
}

async function init(options: InitOptions, terminal: Terminal): Promise<void> {
  const envFile = join(dirname(options.config), '.env.example');
  refuseOverwriting([options.config, envFile], options.force === true);
  if (options.tokenFile !== undefined && options.issuer === undefined) {
    throw new CliError('usage', '--token-file needs --issuer');
  }
  const block = options.issuer === undefined ? undefined : await foreignBlock(options.issuer, options, terminal);
  writeFileSync(options.config, sidecarTemplate(options.upstream, block), { mode: 0o644 });
  writeFileSync(envFile, envTemplate, { mode: 0o644 });
  terminal.out(`${options.config} and ${envFile} are written`);
  await makeOperator(options.config, terminal);
  await checkWritten(options.config, terminal);
}

function refuseOverwriting(files: readonly string[], force: boolean): void {
  const there = files.filter((file) => existsSync(file));
  if (there.length > 0 && !force) throw new CliError('usage', `${there.join(', ')}: already there; --force overwrites`);
}

async function foreignBlock(issuer: string, options: InitOptions, terminal: Terminal): Promise<string> {
  const token = options.tokenFile === undefined ? undefined : await readToken(options.tokenFile, terminal);
  const { examineIssuer } = await import('./foreign-issuer.ts');
  const { block, notes } = await examineIssuer(issuer, token);
  for (const note of notes) terminal.out(`note: ${note}`);
  return block;
}

/** The state folder stands beside the file, as `run` will look for it. */
async function makeOperator(config: string, terminal: Terminal): Promise<void> {
  const [{ resolveBeside }, { makeFirstOperator }] = await Promise.all([
    import('../config/secrets.ts'),
    import('../app/first-operator.ts'),
  ]);
  const file = makeFirstOperator(resolveBeside(config, terminal.env.DOORWARD__STATE_DIR ?? '.doorward'));
  terminal.out(`the operator token is in ${file} (mode 0600); its digest in operators.json`);
}

/** What was written must hold; what it still lacks (a secret, say) is told now and not at the first start. */
async function checkWritten(file: string, terminal: Terminal): Promise<void> {
  const [{ loadConfig }, { ConfigError }] = await Promise.all([
    import('../config/load.ts'),
    import('../config/problem.ts'),
  ]);
  try {
    loadConfig({ file, env: terminal.env });
    terminal.out(`next: doorward check --config ${file}`);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    terminal.out(`still to do:\n${error.message}`);
  }
}
