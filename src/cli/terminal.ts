// What a command may touch of the outside: three streams and the environment. Handed in, so that commands can be run by
// tests without a process.
import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { CliError } from './exit-codes.ts';

/** The outside of a command. */
export interface Terminal {
  /** Results, one line. */
  out(line: string): void;
  /** Messages for people, one line. */
  err(line: string): void;
  /** Everything on standard input. */
  readInput(): Promise<string>;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The process' own streams. A reader that has gone (`doorward audit list | head`) is no failure: the rest stays unsaid. */
export function processTerminal(env: Terminal['env']): Terminal {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', unlessGone);
  return {
    out: (line) => void process.stdout.write(`${line}\n`),
    err: (line) => void process.stderr.write(`${line}\n`),
    readInput: () => text(process.stdin),
    env,
  };
}

function unlessGone(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
}

/**
 * A token from `-` (standard input) or a file. Never from the command line itself, which every user of the machine can read
 * in the process list (attack 129).
 */
export async function readToken(source: string, terminal: Terminal): Promise<string> {
  if (/^ey[A-Za-z0-9_-]+\./.test(source)) {
    throw new CliError('usage', 'a token on the command line is visible to others: use - (standard input) or a file');
  }
  const read = source === '-' ? await terminal.readInput() : readText(source);
  const token = read.trim().replace(/^Bearer\s+/i, '');
  if (token === '' || /\s/.test(token)) throw new CliError('usage', `${source} holds no single token`);
  return token;
}

/** Text of a file that the command line names. Throws CliError `usage`. */
export function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new CliError('usage', `${file} cannot be read (${(error as NodeJS.ErrnoException).code})`, { cause: error });
  }
}

/** Lines of a table whose columns are as wide as their widest cell. */
export function tableLines(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] as number)))
      .join('  ')
      .trimEnd(),
  );
}
