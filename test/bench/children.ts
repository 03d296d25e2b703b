// Child processes of the bench: started on the cores they are meant for, ended by their own pid, none left behind whatever
// happens. Their output goes to files in the run's folder; the end of it is shown when one fails.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fetchStatus } from './requests.ts';

/** A running child. */
export interface Child {
  readonly name: string;
  readonly pid: number;
  /** SIGTERM, then SIGKILL after 5 s; resolves when it has ended. */
  stop(): Promise<void>;
  /** End of what it wrote. */
  output(): string;
  readonly ended: boolean;
}

/** How to start a child. */
export interface ChildPlan {
  readonly name: string;
  /** Folder for its output. */
  readonly dir: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Cores it may run on, as `taskset -c` takes them; undefined: wherever. */
  readonly cores: string | undefined;
  readonly cwd?: string;
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

let interrupted = false;

/** Ends every child and starts no more: whatever waits for one fails, and so the run unwinds and cleans up. */
export function interrupt(): void {
  interrupted = true;
  for (const child of running) child.kill('SIGKILL');
}

function refuseWhenInterrupted(): void {
  if (interrupted) throw new Error('interrupted');
}

/** Starts a child; its pid is the program's own, because taskset replaces itself. */
export function startChild(plan: ChildPlan): Child {
  refuseWhenInterrupted();
  const log = join(plan.dir, `${plan.name}.log`);
  const fd = openSync(log, 'a');
  const words = plan.cores === undefined ? [plan.command] : ['taskset', '-c', plan.cores, plan.command];
  const env = { ...process.env, NODE_ENV: 'production' };
  const options = { stdio: ['ignore', fd, fd] as ['ignore', number, number], env, cwd: plan.cwd };
  const child = spawn(words[0] as string, [...words.slice(1), ...plan.args], options);
  closeSync(fd);
  running.add(child);
  let ended = false;
  const over = new Promise<void>((resolve) => {
    const end = () => {
      ended = true;
      running.delete(child);
      resolve();
    };
    child.once('exit', end);
    child.once('error', end);
  });
  return {
    name: plan.name,
    pid: child.pid ?? 0,
    get ended() {
      return ended;
    },
    output: () => readFileSync(log, 'utf8').slice(-2000),
    async stop() {
      if (ended) return;
      child.kill('SIGTERM');
      const kill = setTimeout(() => child.kill('SIGKILL'), 5000);
      await over;
      clearTimeout(kill);
    },
  };
}

/** Waits until `port` answers GET `path` with 200; throws with the child's output when it ends or takes above `withinMs`. */
export async function untilServing(
  child: Child,
  port: number,
  path: string,
  headers: Readonly<Record<string, string>> = {},
  pollMs = 25,
  withinMs = 15_000,
): Promise<void> {
  const endsAt = performance.now() + withinMs;
  let last: number | string = 'no answer';
  while (performance.now() < endsAt) {
    refuseWhenInterrupted();
    if (child.ended) throw new Error(`${child.name} ended:\n${child.output()}`);
    last = await fetchStatus(port, path, headers).catch((error: NodeJS.ErrnoException) => error.code ?? error.message);
    if (last === 200) return;
    await sleep(pollMs);
  }
  throw new Error(`${child.name} was not ready after ${withinMs} ms (${last}):\n${child.output()}`);
}

/** Runs a program to its end on `cores` and yields its stdout; throws when it fails or takes above `limitMs`. */
export async function runToEnd(
  command: string,
  args: readonly string[],
  cores: string | undefined,
  limitMs: number,
): Promise<string> {
  refuseWhenInterrupted();
  const words = cores === undefined ? [command] : ['taskset', '-c', cores, command];
  const child = spawn(words[0] as string, [...words.slice(1), ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  let out = '';
  let complaint = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-2000);
  });
  const kill = setTimeout(() => child.kill('SIGKILL'), limitMs);
  try {
    const [code] = (await once(child, 'close')) as [number | null];
    refuseWhenInterrupted();
    if (code !== 0) throw new Error(`${command} failed (${code}): ${complaint}${out.slice(-500)}`);
    return out;
  } finally {
    clearTimeout(kill);
    running.delete(child);
  }
}
