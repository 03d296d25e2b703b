// How a command gets to the sidecar: over its Unix socket when there is one, else to the admin port, with an operator token
// or a client certificate. Reads only what leads there, so that a file that does not hold keeps nobody from revoking.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { createSecureContext } from 'node:tls';
import { Agent } from 'undici';
import type { AdminOptions } from './admin-client.ts';
import { CliError } from './exit-codes.ts';
import { looseTree, textAt, valueAt } from './loose-settings.ts';
import type { Terminal } from './terminal.ts';

/** The way to a sidecar, and who comes. */
export interface Door {
  readonly origin: string;
  /** For messages: the path of the socket, or the origin. */
  readonly where: string;
  readonly agent: Agent;
  /** Undefined where the socket or a client certificate tells who comes. */
  readonly token: string | undefined;
}

/** Finds the door; the caller destroys its agent. Throws CliError when there is none, or the options do not fit. */
export function findDoor(options: AdminOptions, { env }: Terminal): Door {
  const settings = settingsOf(options, env);
  const socketPath = join(settings.stateDir, 'admin.sock');
  const tls = tlsOf(options);
  if (options.admin === undefined && tls === undefined && isSocket(socketPath)) {
    const agent = new Agent({ connect: { socketPath } });
    return { origin: 'http://localhost', where: socketPath, agent, token: undefined };
  }
  const scheme = settings.tls || tls !== undefined ? 'https' : 'http';
  const origin = originOf(options.admin ?? `${scheme}://${settings.listen}`);
  if (tls !== undefined && !origin.startsWith('https:')) throw new CliError('usage', `${origin} is not https`);
  const token = tokenOf(options, settings.stateDir, tls?.cert !== undefined);
  return { origin, where: origin, agent: new Agent({ connect: { ...tls } }), token };
}

function originOf(text: string): string {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) throw new CliError('usage', `--admin ${text} is no http URL`);
  return url.origin;
}

function isSocket(path: string): boolean {
  return existsSync(path) && statSync(path).isSocket();
}

interface Tls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

function tlsOf({ adminCa: ca, adminCert: cert, adminKey: key }: AdminOptions): Tls | undefined {
  if (ca === undefined && cert === undefined && key === undefined) return undefined;
  if ((cert === undefined) !== (key === undefined))
    throw new CliError('usage', '--admin-cert and --admin-key go together');
  const tls = {
    ...(ca === undefined ? {} : { ca: pemIn('--admin-ca', ca) }),
    ...(cert === undefined ? {} : { cert: pemIn('--admin-cert', cert) }),
    ...(key === undefined ? {} : { key: pemIn('--admin-key', key) }),
  };
  try {
    createSecureContext(tls);
  } catch (cause) {
    // Messages of OpenSSL name functions, not files; the code says whether key and certificate belong together.
    const code = (cause as NodeJS.ErrnoException).code ?? 'no PEM';
    throw new CliError('usage', `--admin-ca, --admin-cert and --admin-key do not fit (${code})`, { cause });
  }
  return tls;
}

function pemIn(option: string, file: string): string {
  const text = textOf(file);
  if (text === undefined) throw new CliError('usage', `${option} ${file} cannot be read`);
  if (!text.includes('-----BEGIN ')) throw new CliError('usage', `${option} ${file} is no PEM file`);
  return text;
}

/** A certificate says who comes; a token beside it has to be asked for. */
function tokenOf(options: AdminOptions, stateDir: string, certified: boolean): string | undefined {
  if (options.adminTokenFile === undefined && certified) return undefined;
  const file = options.adminTokenFile ?? join(stateDir, 'admin.token');
  const text = textOf(file);
  if (text !== undefined) return text.trim();
  const message = `no sidecar runs here: no admin.sock, and ${file} cannot be read; see --state-dir and --admin`;
  throw new CliError('sidecar_unreachable', message);
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // Missing, a folder, or not ours to read: for a command it is one thing.
    return undefined;
  }
}

interface Settings {
  readonly stateDir: string;
  readonly listen: string;
  /** True when the admin port speaks TLS. */
  readonly tls: boolean;
}

function settingsOf(options: AdminOptions, env: Terminal['env']): Settings {
  const tree = looseTree(options.config);
  const named = options.stateDir ?? env.DOORWARD__STATE_DIR ?? textAt(tree, ['state_dir']);
  const listen = env.DOORWARD__ADMIN__LISTEN ?? textAt(tree, ['admin', 'listen']) ?? '127.0.0.1:9900';
  const base = options.stateDir === undefined ? dirname(options.config) : '.';
  return { stateDir: resolve(base, named ?? '.doorward'), listen, tls: valueAt(tree, ['admin', 'tls']) !== undefined };
}
