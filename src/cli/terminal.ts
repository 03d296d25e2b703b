// What a command may touch of the outside: three streams and the environment. Handed in, so that commands can be run by
// tests without a process.
import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { CliError, exitCodes } from './exit-codes.ts';
import { systemFailure } from './failure.ts';

/** The outside of a command. */
export interface Terminal {
  /** Results, one line. */
  out(line: string): void;
  /** Messages for people, one line. */
  err(line: string): void;
  /** Everything on standard input. */
  readInput(): Promise<string>;
  /** Why results do not arrive, known once all so far were tried; absent where they always do. */
  unwritten?(): Promise<NodeJS.ErrnoException | undefined>;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * The process' own streams. A reader that has gone (`doorward audit list | head`) is no failure: the rest stays unsaid. Any
 * other loss of results (a full disk) is one, whatever the command itself makes of it.
 */
export function processTerminal(env: Terminal['env']): Terminal {
  let failed: NodeJS.ErrnoException | undefined;
  let written = Promise.resolve();
  const note = (error: Error | null | undefined) => {
    failed ??= error ?? undefined;
  };
  process.stdout.on('error', note);
  process.stderr.on('error', unlessGone);
  process.once('exit', (code) => {
    if (code !== exitCodes.ok || failed === undefined || failed.code === 'EPIPE') return;
    process.stderr.write(`${outputFailure(failed)}\n`);
    process.exitCode = exitCodes.failure;
  });
  return {
    out: (line) => {
      written = new Promise((resolve) => {
        process.stdout.write(`${line}\n`, (error) => resolve(note(error)));
      });
    },
    unwritten: () => written.then(() => failed),
    err: (line) => void process.stderr.write(`${line}\n`),
    readInput: () => text(process.stdin),
    env,
  };
}

/** The sentence for results that did not arrive. */
export function outputFailure(error: NodeJS.ErrnoException): string {
  if (error.code === 'EPIPE') return 'the reader of standard output has gone';
  return systemFailure(error, 'standard output') ?? `standard output cannot be written: ${error.message}`;
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
