// `doorward convert`: a sidecar.yaml from the configuration of another proxy. What cannot be said becomes a comment, and the exit
// code tells; the result is checked before it is handed out.
import { writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { Draft } from './convert-draft.ts';
import { CliError } from './exit-codes.ts';
import { readText, type Terminal } from './terminal.ts';

interface ConvertOptions {
  readonly out?: string;
  readonly force?: boolean;
  readonly alphaConfig?: string;
}

const converters: Readonly<
  Record<string, { readonly what: string; readonly convert: (text: string, options: ConvertOptions) => Promise<Draft> }>
> = {
  envoy: {
    what: 'an Envoy configuration (YAML or JSON) with jwt_authn',
    convert: async (text) => (await import('./convert-envoy.ts')).convertEnvoy(text),
  },
  'oauth2-proxy': {
    what: 'an oauth2-proxy.cfg',
    convert: async (text, { alphaConfig }) =>
      (await import('./convert-oauth2-proxy.ts')).convertOauth2Proxy(text, alphaConfig && readText(alphaConfig)),
  },
};

/** Adds the verb. */
export function addConvert(program: Command, terminal: Terminal): void {
  const convert = program.command('convert').description('make a sidecar.yaml from the configuration of another proxy');
  for (const [from, { what, convert: read }] of Object.entries(converters)) {
    const verb = convert.command(from);
    if (from === 'oauth2-proxy')
      verb.option('--alpha-config <file>', 'its structured configuration (YAML), beside the file');
    verb
      .description(`from ${what}; exit code 2 when not everything could be converted`)
      .argument('<file>', 'configuration to read')
      .option('--out <file>', 'file to write (default: standard output)')
      .option('--force', 'overwrite what is there')
      .action((file: string, options: ConvertOptions) => run(file, (text) => read(text, options), options, terminal));
  }
}

async function run(
  file: string,
  read: (text: string) => Promise<Draft>,
  { out, force }: ConvertOptions,
  terminal: Terminal,
): Promise<void> {
  const draft = await readDraft(file, read);
  const text = draft.text(file);
  if (out === undefined) terminal.out(text.trimEnd());
  else write(out, text, force === true);
  const problems = await problemsOf(text, out ?? 'sidecar.yaml', terminal);
  for (const problem of problems) terminal.err(problem);
  if (draft.leftOut.length + problems.length === 0) return;
  const opens = draft.leftOut.filter((each) => each.opens).length;
  throw new CliError(
    'usage',
    [
      `${draft.leftOut.length} not converted, ${opens} of them kept somebody out: the comments say which`,
      ...(problems.length > 0 ? ['the result does not hold yet: the lines above say why'] : []),
    ].join('\n'),
  );
}

/** A file that is no such configuration may break a mapping anywhere; for the caller that is one thing. */
async function readDraft(file: string, read: (text: string) => Promise<Draft>): Promise<Draft> {
  const text = readText(file);
  try {
    return await read(text);
  } catch (error) {
    const why = error instanceof CliError ? error.message : 'is not laid out as such a configuration is';
    throw new CliError('usage', `${file}: ${why}`, { cause: error });
  }
}

function write(out: string, text: string, force: boolean): void {
  try {
    writeFileSync(out, text, { mode: 0o644, flag: force ? 'w' : 'wx' });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'EEXIST' ? 'already there; --force overwrites' : `cannot be written (${code})`;
    throw new CliError('usage', `${out}: ${why}`, { cause: error });
  }
}

/** What `doorward check` would say against it, one line each. */
async function problemsOf(text: string, file: string, terminal: Terminal): Promise<string[]> {
  const [{ parseConfig }, { ConfigError, formatProblem }] = await Promise.all([
    import('../config/load.ts'),
    import('../config/problem.ts'),
  ]);
  try {
    parseConfig({ bytes: Buffer.from(text), file, env: terminal.env });
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map(formatProblem);
  }
}
