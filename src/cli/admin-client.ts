// Talks to a running sidecar, by the way that admin-door.ts finds. Turns refusals into exit codes and into the sentences that
// the problem document holds.
import type { Command } from 'commander';
import { request } from 'undici';
import { type Door, findDoor } from './admin-door.ts';
import { CliError, type exitCodes } from './exit-codes.ts';
import type { Terminal } from './terminal.ts';

/** Options of every command that talks to a sidecar. */
export interface AdminOptions {
  readonly config: string;
  readonly stateDir?: string;
  readonly admin?: string;
  readonly adminTokenFile?: string;
  /** Files with PEM, for an admin port that speaks TLS. */
  readonly adminCa?: string;
  readonly adminCert?: string;
  readonly adminKey?: string;
  readonly json?: boolean;
}

/** Adds {@link AdminOptions} to a command. */
export function withAdminOptions(command: Command): Command {
  return command
    .option('-c, --config <file>', 'configuration of the sidecar, for its state_dir', 'sidecar.yaml')
    .option('--state-dir <dir>', 'state folder of the sidecar (default: as the configuration says)')
    .option('--admin <url>', 'admin port to call instead of the socket, such as http://127.0.0.1:9900')
    .option('--admin-token-file <file>', 'operator token for the admin port (default: <state-dir>/admin.token)')
    .option('--admin-ca <file>', 'PEM of the authority of an admin port with TLS (default: those that Node trusts)')
    .option('--admin-cert <file>', 'PEM of a client certificate for the admin port, instead of a token')
    .option('--admin-key <file>', 'PEM of the private key of --admin-cert')
    .option('--json', 'print JSON');
}

/** One call; `path` with its query. */
export interface AdminCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
  /** How long the answer may take; default 30 s. */
  readonly timeoutMs?: number;
}

/** An answer as it came. */
export interface AdminAnswer {
  readonly status: number;
  /** JSON of the body; undefined for an empty one or another format. */
  readonly json: unknown;
  readonly text: string;
  /** Every answer of an admin port has one; empty where none came. */
  readonly requestId: string;
  /** Who answered, in words. */
  readonly where: string;
}

/** A sidecar refused a call: the message holds everything, `problems` what to put right. */
export class AdminRefusal extends CliError {
  readonly status: number;
  /** A line per wrong field, or the one sentence that there is. */
  readonly problems: readonly string[];

  constructor(code: keyof typeof exitCodes, status: number, lines: readonly string[], head: string) {
    super(code, [...lines, head].join('\n'));
    this.status = status;
    this.problems = lines.length > 0 ? lines : [head];
  }
}

/** Calls a sidecar and returns the JSON of its answer. Throws AdminRefusal for every refusal, with its exit code. */
export async function callAdmin(options: AdminOptions, terminal: Terminal, call: AdminCall): Promise<unknown> {
  return (await soundAnswer(options, terminal, call)).json;
}

/** An answer that an admin port may have given; throws AdminRefusal, and CliError for what something else answered. */
async function soundAnswer(options: AdminOptions, terminal: Terminal, call: AdminCall): Promise<AdminAnswer> {
  const answer = await askAdmin(options, terminal, call);
  const { status, text, json, requestId } = answer;
  if (requestId === '' || (text !== '' && json === undefined)) throw noAdminPort(answer);
  if (status < 400) return answer;
  throw (json as ProblemDocument | undefined)?.code === undefined ? noAdminPort(answer) : refusal(answer);
}

const noAdminPort = ({ where, status }: AdminAnswer) =>
  new CliError('sidecar_unreachable', `${where} answers (${status}), but is no admin port; see --admin`);

/** Calls a sidecar and returns whatever it answers. Throws CliError only when none does. */
export async function askAdmin(options: AdminOptions, terminal: Terminal, call: AdminCall): Promise<AdminAnswer> {
  const door = findDoor(options, terminal);
  try {
    const timeout = call.timeoutMs ?? 30_000;
    const answer = await request(`${door.origin}${call.path}`, {
      dispatcher: door.agent,
      method: call.method,
      headersTimeout: timeout,
      bodyTimeout: timeout,
      headers: {
        ...(door.token === undefined ? {} : { authorization: `Bearer ${door.token}` }),
        ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
    }).catch((cause) => unreachable(door, cause));
    const text = await answer.body.text().catch((cause) => unreachable(door, cause));
    const { 'x-request-id': requestId } = answer.headers;
    return {
      status: answer.statusCode,
      text,
      json: jsonIn(text),
      requestId: String(requestId ?? ''),
      where: door.where,
    };
  } finally {
    await door.agent.destroy();
  }
}

/** All items of a list, page by page; `filter` members that are undefined are left out. */
export async function callPages<Item>(
  options: AdminOptions,
  terminal: Terminal,
  path: string,
  filter: Readonly<Record<string, string | undefined>> = {},
): Promise<readonly Item[]> {
  const query = new URLSearchParams({ limit: '1000' });
  for (const [name, value] of Object.entries(filter)) if (value !== undefined) query.set(name, value);
  const items: Item[] = [];
  for (;;) {
    const answer = await soundAnswer(options, terminal, { method: 'GET', path: `${path}?${query}` });
    const page = answer.json as { readonly items?: readonly Item[]; readonly next?: string } | undefined;
    if (page?.items === undefined) throw noAdminPort(answer);
    items.push(...page.items);
    if (page.next === undefined) return items;
    query.set('cursor', page.next);
  }
}

/** Codes of a handshake that failed: of OpenSSL (ERR_SSL_…), of Node (ERR_TLS_…), and of X.509. */
const HANDSHAKE = /SSL|TLS|CERT|SELF_SIGNED|UNABLE_TO_/;

function unreachable({ where }: Door, cause: unknown): never {
  const code = (cause as NodeJS.ErrnoException).code ?? 'no answer';
  const message = HANDSHAKE.test(code)
    ? `no TLS with ${where} (${code}); see --admin-ca, --admin-cert and --admin-key`
    : `no sidecar answers at ${where} (${code})`;
  throw new CliError('sidecar_unreachable', message, { cause });
}

interface ProblemDocument {
  readonly title?: string;
  readonly code?: string;
  readonly detail?: string;
  readonly request_id?: string;
  readonly errors?: readonly { readonly path: string; readonly problem: string }[];
}

function refusal({ status, json }: AdminAnswer): AdminRefusal {
  const document = (json ?? {}) as ProblemDocument;
  const lines = (document.errors ?? []).map(({ path, problem }) => `${path}: ${problem}`);
  const head = `${status} ${document.title ?? 'refused'}${document.detail === undefined ? '' : `: ${document.detail}`}`;
  const id = document.request_id === undefined ? '' : ` (request ${document.request_id})`;
  return new AdminRefusal(kindOf(status, document.code), status, lines, `${head}${id}`);
}

function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function kindOf(status: number, code: string | undefined) {
  if (code === 'config_refused') return 'configuration_refused';
  if (status === 404) return 'not_found';
  return status >= 500 && status !== 501 ? 'failure' : 'refused_by_sidecar';
}
