// How a failure ends a command: the sentence that is printed and the exit code. A stack is for defects; whoever typed a wrong
// path is told the path.
import { getSystemErrorMessage } from 'node:util';
import { SidecarError } from '../core/errors.ts';
import { CliError } from './exit-codes.ts';

/** The failure as one with an exit code; a defect comes with its stack. */
export function asCliError(error: unknown): CliError {
  if (error instanceof CliError) return error;
  const message = systemFailure(error) ?? (error instanceof SidecarError ? error.message : undefined);
  if (message !== undefined) return new CliError('failure', message, { cause: error });
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return new CliError('failure', text, { cause: error });
}

/** What failed by the name of its system call; default: used. */
const VERBS: Readonly<Record<string, string>> = {
  open: 'opened',
  read: 'read',
  scandir: 'read',
  write: 'written',
  mkdir: 'made',
  mkdtemp: 'made',
  link: 'written',
  rename: 'written',
  unlink: 'removed',
  rm: 'removed',
  stat: 'found',
  lstat: 'found',
  listen: 'listened on',
  bind: 'listened on',
  connect: 'reached',
  getaddrinfo: 'resolved',
  spawn: 'started',
};

/**
 * `PATH cannot be opened: no such file or directory (ENOENT)`; undefined for what the operating system did not say. `subject`:
 * what to call it where the failure does not know.
 */
export function systemFailure(error: unknown, subject?: string): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code, errno, syscall } = error as NodeJS.ErrnoException;
  if (syscall === undefined || code === undefined || !/^E[A-Z0-9_]+$/.test(code)) return undefined;
  const [verb = ''] = syscall.split(' ');
  const why = errno === undefined ? code : `${getSystemErrorMessage(errno) ?? 'unknown'} (${code})`;
  return `${subject ?? subjectOf(error)} cannot be ${VERBS[verb] ?? 'used'}: ${why}`;
}

function subjectOf(error: NodeJS.ErrnoException): string {
  const { path, dest, address, port, hostname } = error as NodeJS.ErrnoException & Place;
  if (path !== undefined) return dest ?? path;
  if (address === undefined) return hostname ?? error.syscall ?? '';
  if (port === undefined || port < 0) return address;
  return `${address.includes(':') ? `[${address}]` : address}:${port}`;
}

interface Place {
  readonly dest?: string;
  readonly address?: string;
  readonly port?: number;
  readonly hostname?: string;
}
