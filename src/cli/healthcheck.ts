// `doorward healthcheck`: whether the sidecar of this machine lives, for a HEALTHCHECK of an image without a shell. Reads only
// the address from the configuration, so that it costs little and needs none of its secrets.
import type { Command } from 'commander';
import { request } from 'undici';
import { CliError } from './exit-codes.ts';
import { looseTree, textAt } from './loose-settings.ts';
import type { Terminal } from './terminal.ts';

interface HealthcheckOptions {
  readonly config: string;
  readonly url?: string;
  readonly ready?: boolean;
}

const PATIENCE_MS = 5000;

/** Adds the verb. */
export function addHealthcheck(program: Command, terminal: Terminal): void {
  program
    .command('healthcheck')
    .description('ask the observe port of the sidecar here whether it lives; for HEALTHCHECK of an image')
    .option('-c, --config <file>', 'configuration of the sidecar, for its observe.listen', 'sidecar.yaml')
    .option('--url <url>', 'ask there instead, such as http://127.0.0.1:9902')
    .option('--ready', 'ask whether it takes traffic: /readyz instead of /healthz')
    .action((options: HealthcheckOptions) => healthcheck(options, terminal));
}

async function healthcheck(options: HealthcheckOptions, terminal: Terminal): Promise<void> {
  const url = `${originOf(options, terminal)}/${options.ready ? 'readyz' : 'healthz'}`;
  const { statusCode, body } = await request(url, { headersTimeout: PATIENCE_MS, bodyTimeout: PATIENCE_MS }).catch(
    (cause) => {
      throw new CliError('sidecar_unreachable', `${url} does not answer (${cause.code})`, { cause });
    },
  );
  const text = await body.text();
  if (statusCode !== 200) throw new CliError('failure', `${url} answers ${statusCode}: ${text.trim()}`);
  terminal.out(text.trim());
}

function originOf({ url, config }: HealthcheckOptions, { env }: Terminal): string {
  if (url !== undefined) {
    const parsed = URL.parse(url);
    if (parsed?.protocol !== 'http:') throw new CliError('usage', `--url ${url} is no http URL`);
    return parsed.origin;
  }
  const named = env.DOORWARD__OBSERVE__LISTEN ?? textAt(looseTree(config), ['observe', 'listen']);
  const listen = named ?? '0.0.0.0:9902';
  if (listen === 'off') throw new CliError('configuration_refused', 'observe.listen is off: there is no port to ask');
  // A listener on every address is asked on loopback, in its own family.
  return `http://${listen.replace(/^0\.0\.0\.0:/, '127.0.0.1:').replace(/^\[::\]:/, '[::1]:')}`;
}
