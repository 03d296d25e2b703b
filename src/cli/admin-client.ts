// Talks to a running sidecar: over its Unix socket when there is one, else to the admin port with the operator token. Turns
// refusals into exit codes and into the sentences that the problem document holds.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { Agent, request } from 'undici';
import { parse } from 'yaml';
import { CliError } from './exit-codes.ts';
import type { Terminal } from './terminal.ts';

/** Options of every command that talks to a sidecar. */
export interface AdminOptions {
  readonly config: string;
  readonly stateDir?: string;
  readonly admin?: string;
  readonly adminTokenFile?: string;
  readonly json?: boolean;
}

/** Adds {@link AdminOptions} to a command. */
export function withAdminOptions(command: Command): Command {
  return command
    .option('-c, --config <file>', 'configuration of the sidecar, for its state_dir', 'sidecar.yaml')
    .option('--state-dir <dir>', 'state folder of the sidecar (default: as the configuration says)')
    .option('--admin <url>', 'admin port to call instead of the socket, such as http://127.0.0.1:9900')
    .option('--admin-token-file <file>', 'operator token for the admin port (default: <state-dir>/admin.token)')
    .option('--json', 'print JSON');
}

/** One call; `path` with its query. */
export interface AdminCall {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
  /** How long the answer may take; default 30 s. */
  readonly timeoutMs?: number;
}

/** Calls a sidecar and returns the JSON of its answer. Throws CliError with the exit code for every refusal. */
export async function callAdmin(options: AdminOptions, terminal: Terminal, call: AdminCall): Promise<unknown> {
  const door = findDoor(options, terminal);
  const agent = new Agent(door.socketPath === undefined ? {} : { connect: { socketPath: door.socketPath } });
  try {
    const timeout = call.timeoutMs ?? 30_000;
    const answer = await request(`${door.origin}${call.path}`, {
      dispatcher: agent,
      method: call.method,
      headersTimeout: timeout,
      bodyTimeout: timeout,
      headers: {
        ...(door.token === undefined ? {} : { authorization: `Bearer ${door.token}` }),
        ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
    }).catch((cause) => {
      throw unreachable(door, cause);
    });
    const text = await answer.body.text();
    if (answer.statusCode < 400) return text === '' ? undefined : JSON.parse(text);
    throw refusal(answer.statusCode, text);
  } finally {
    await agent.destroy();
  }
}

interface Door {
  readonly origin: string;
  readonly socketPath?: string;
  readonly token?: string;
}

function findDoor(options: AdminOptions, terminal: Terminal): Door {
  const settings = settingsOf(options, terminal);
  const socketPath = join(settings.stateDir, 'admin.sock');
  if (options.admin === undefined && isSocket(socketPath)) return { origin: 'http://localhost', socketPath };
  const file = options.adminTokenFile ?? join(settings.stateDir, 'admin.token');
  return { origin: originOf(options.admin ?? `http://${settings.listen}`), token: readOperatorToken(file) };
}

function originOf(text: string): string {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) throw new CliError('usage', `--admin ${text} is no http URL`);
  return url.origin;
}

function isSocket(path: string): boolean {
  return existsSync(path) && statSync(path).isSocket();
}

function readOperatorToken(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (cause) {
    const message = `no sidecar runs here: no admin.sock, and ${file} cannot be read; see --state-dir and --admin`;
    throw new CliError('sidecar_unreachable', message, { cause });
  }
}

/** Reads only what leads to the sidecar: a file that does not hold must not keep an operator from revoking. */
function settingsOf(options: AdminOptions, { env }: Terminal): { stateDir: string; listen: string } {
  const tree = looseTree(options.config);
  const named = options.stateDir ?? env.DOORWARD__STATE_DIR ?? textAt(tree, ['state_dir']);
  const listen = env.DOORWARD__ADMIN__LISTEN ?? textAt(tree, ['admin', 'listen']) ?? '127.0.0.1:9900';
  const base = options.stateDir === undefined ? dirname(options.config) : '.';
  return { stateDir: resolve(base, named ?? '.doorward'), listen };
}

function looseTree(file: string): unknown {
  try {
    return parse(readFileSync(file, 'utf8'), { logLevel: 'silent' });
  } catch {
    return undefined;
  }
}

function textAt(tree: unknown, path: readonly string[]): string | undefined {
  let at = tree;
  for (const name of path)
    at = typeof at === 'object' && at !== null ? (at as Record<string, unknown>)[name] : undefined;
  return typeof at === 'string' ? at : undefined;
}

function unreachable(door: Door, cause: unknown): CliError {
  const where = door.socketPath ?? door.origin;
  const code = (cause as NodeJS.ErrnoException).code ?? 'no answer';
  return new CliError('sidecar_unreachable', `no sidecar answers at ${where} (${code})`, { cause });
}

interface ProblemDocument {
  readonly title?: string;
  readonly code?: string;
  readonly detail?: string;
  readonly request_id?: string;
  readonly errors?: readonly { readonly path: string; readonly problem: string }[];
}

function refusal(status: number, text: string): CliError {
  const document = problemIn(text);
  const lines = (document.errors ?? []).map(({ path, problem }) => `${path}: ${problem}`);
  const head = `${status} ${document.title ?? 'refused'}${document.detail === undefined ? '' : `: ${document.detail}`}`;
  const id = document.request_id === undefined ? '' : ` (request ${document.request_id})`;
  return new CliError(kindOf(status, document.code), [...lines, `${head}${id}`].join('\n'));
}

function problemIn(text: string): ProblemDocument {
  try {
    return JSON.parse(text) as ProblemDocument;
  } catch {
    return {};
  }
}

function kindOf(status: number, code: string | undefined) {
  if (code === 'config_refused') return 'configuration_refused';
  if (status === 404) return 'not_found';
  return status >= 500 && status !== 501 ? 'failure' : 'refused_by_sidecar';
}
