// Runs the program as a user does: a process of its own, its streams and exit code; and in this process, for commands that
// only talk to a sidecar.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { runCli } from '../../src/cli/program.ts';

const MAIN = resolve(import.meta.dirname, '../../src/main.ts');

/** How a command ended. */
export interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** A command that is still running. */
export interface Running extends AsyncDisposable {
  readonly pid: number;
  /** Standard output so far. */
  out(): string;
  err(): string;
  /** Resolves when the output matches; rejects when the process ends before. */
  until(pattern: RegExp): Promise<RegExpExecArray>;
  signal(name: NodeJS.Signals): void;
  ended: Promise<Ended>;
}

/** A folder that goes with the test. */
export function scratchFolder(): Disposable & { readonly path: string; file(name: string): string } {
  const path = mkdtempSync(join(tmpdir(), 'doorward-cli-'));
  return {
    path,
    file: (name) => join(path, name),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}

/** What a process is started with. */
export interface Start {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
}

/** Starts the program. */
export function start(args: readonly string[], { cwd, env = {}, input }: Start): Running {
  // The cache that test/run.ts names: without it every process strips and compiles the whole program anew.
  const { PATH, HOME, NODE_COMPILE_CACHE } = process.env;
  const child = spawn(process.execPath, [MAIN, ...args], { cwd, env: { PATH, HOME, NODE_COMPILE_CACHE, ...env } });
  const seen = { out: '', err: '' };
  child.stdout.on('data', (chunk) => (seen.out += chunk));
  child.stderr.on('data', (chunk) => (seen.err += chunk));
  child.stdin.end(input);
  const ended = once(child, 'close').then(([code]): Ended => ({ code, ...seen }));
  return {
    pid: child.pid as number,
    out: () => seen.out,
    err: () => seen.err,
    ended,
    signal: (name) => void child.kill(name),
    async until(pattern) {
      let over = false;
      void ended.then(() => (over = true));
      for (;;) {
        const match = pattern.exec(seen.out);
        if (match) return match;
        if (over) throw new Error(`ended without ${pattern}: ${seen.out}${seen.err}`);
        await Promise.race([once(child.stdout, 'data'), ended]);
      }
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** Runs the program to its end. */
export function run(args: readonly string[], options: Start): Promise<Ended> {
  return start(args, options).ended;
}

/** Runs a command in this process. */
export async function runHere(args: readonly string[], input = '', env: Record<string, string> = {}): Promise<Ended> {
  const out: string[] = [];
  const err: string[] = [];
  const code = await runCli(args, {
    out: (line) => void out.push(line),
    err: (line) => void err.push(line),
    readInput: async () => input,
    env,
  });
  return { code, out: out.join('\n'), err: err.join('\n') };
}
