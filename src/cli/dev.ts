// `doorward dev --upstream URL`: the sidecar before the application at hand, without a file and without a store. Says why it
// refuses, which a real one never does.
import { once } from 'node:events';
import { connect } from 'node:net';
import { type Command, InvalidArgumentError } from 'commander';
import { CliError } from './exit-codes.ts';
import { openScratch, untilInterrupted } from './scratch-sidecar.ts';
import { type Terminal, tableLines } from './terminal.ts';

interface DevOptions {
  readonly upstream: string;
  readonly port: number;
}

/** Adds the verb. */
export function addDev(program: Command, terminal: Terminal): void {
  program
    .command('dev')
    .description('run before a local application: no file, memory stores, a token, reasons for every refusal')
    .requiredOption('--upstream <url>', 'origin of the application, such as http://127.0.0.1:3000')
    .option('--port <n>', 'port to listen on (default: a free one)', parsePort, 0)
    .action((options: DevOptions) => dev(options, terminal));
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port > 65_535) throw new InvalidArgumentError('needs a port from 0 to 65535');
  return port;
}

async function dev({ upstream, port }: DevOptions, terminal: Terminal): Promise<void> {
  await using scratch = await openScratch(
    {
      upstream: originOf(upstream),
      port,
      limits: { per_client: { key: 'client', rate: '600/1m' } },
      routes: { all: { match: { prefix: '/' }, limits: ['per_client'] } },
      onRefusal: (decision) => terminal.out(refusalLine(decision)),
    },
    terminal,
  );
  const token = await scratch.issue({ subject: 'dev', client: 'dev', scopes: ['read', 'write'] });
  for (const line of greeting(scratch.sidecar, upstream, token)) terminal.out(line);
  const away = await awayBecause(new URL(upstream));
  if (away !== undefined) terminal.err(`${upstream} does not answer (${away}): requests get 502 until it does`);
  await untilInterrupted();
}

/** Longest wait for the application to take a connection. */
const CONNECT_MS = 2000;

/** Why the application takes no connection; undefined when it does. */
async function awayBecause({ hostname, port, protocol }: URL): Promise<string | undefined> {
  const host = hostname.replace(/^\[|\]$/g, '');
  const socket = connect({ host, port: Number(port) || (protocol === 'https:' ? 443 : 80) });
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(CONNECT_MS) });
    return undefined;
  } catch (error) {
    const { name, code = name } = error as NodeJS.ErrnoException;
    return name === 'AbortError' ? 'no answer' : code;
  } finally {
    socket.destroy();
  }
}

function originOf(text: string): string {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) throw new CliError('usage', '--upstream needs an http URL');
  return url.origin;
}

function greeting(
  sidecar: Awaited<ReturnType<typeof openScratch>>['sidecar'],
  upstream: string,
  token: string,
): string[] {
  const rows = sidecar.routes().map(({ name, match, auth, limits }) => [name, match, auth, limits.join(', ')]);
  return [
    `${sidecar.proxyUrl} -> ${upstream}`,
    `admin ${sidecar.adminUrl}   observe ${sidecar.observeUrl}`,
    '',
    ...tableLines([['ROUTE', 'MATCH', 'AUTH', 'LIMITS'], ...rows]),
    '',
    `A token for 12 hours, and a request with it:`,
    `  export TOKEN=${token}`,
    `  curl -i ${sidecar.proxyUrl}/ -H "Authorization: Bearer $TOKEN"`,
    '',
    'A request without:',
    `  curl -i ${sidecar.proxyUrl}/`,
    '',
    `More tokens: doorward token issue --state-dir ${sidecar.stateDir} --subject NAME`,
    'Refusals appear below. Ctrl-C ends.',
    '',
  ];
}

/** A refusal as one line, with the request id that the caller got. */
export function refusalLine(decision: Readonly<Record<string, unknown>>): string {
  const { status, reason, method, path, request_id: id, rule, remedy } = decision;
  const because = [rule, remedy].filter((text) => typeof text === 'string').join('; ');
  return `${status} ${reason}  ${method} ${path}  (${id})${because === '' ? '' : `  ${because}`}`;
}
