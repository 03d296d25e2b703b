// The sidecar under test as a process of its own: started as a user would, watched from outside through /proc, its log read
// for what must never happen.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** Where it listens. */
export interface Addresses {
  readonly proxy: string;
  readonly admin: string;
  readonly observe: string;
}

/** The process. */
export interface SidecarProcess extends AsyncDisposable {
  readonly pid: number;
  readonly addresses: Addresses;
  /** Lines of level error by event, and how often. */
  readonly errors: ReadonlyMap<string, number>;
  isAlive(): boolean;
  residentMb(): number;
  descriptors(): readonly string[];
  signal(name: NodeJS.Signals): void;
  /** SIGTERM; resolves with the exit code, or the signal that it took in the end. */
  stop(withinMs: number): Promise<number | string>;
}

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** Starts `doorward run` and resolves when it listens. */
export async function startProcess(config: string): Promise<SidecarProcess> {
  const child = spawn(process.execPath, [main, 'run', '--config', config], { stdio: ['ignore', 'pipe', 'pipe'] });
  const errors = new Map<string, number>();
  const addresses = await listening(child, errors);
  const pid = child.pid as number;
  const isAlive = () => child.exitCode === null && child.signalCode === null;
  const stop = async (withinMs: number) => {
    if (!isAlive()) return child.exitCode ?? (child.signalCode as string);
    const ended = once(child, 'exit') as Promise<[number | null, string | null]>;
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), withinMs);
    const [code, signal] = await ended;
    clearTimeout(timer);
    return code ?? (signal as string);
  };
  return {
    pid,
    addresses,
    errors,
    isAlive,
    residentMb: () => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024,
    descriptors: () => readdirSync(`/proc/${pid}/fd`),
    signal: (name) => void child.kill(name),
    stop,
    [Symbol.asyncDispose]: async () => void (await stop(1000)),
  };
}

async function listening(child: ChildProcess, errors: Map<string, number>): Promise<Addresses> {
  const { promise, resolve, reject } = Promise.withResolvers<Addresses>();
  child.once('exit', (code, signal) => reject(new Error(`the sidecar ended before it listened: ${code ?? signal}`)));
  child.stderr?.on('data', (chunk) => process.stderr.write(chunk));
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
    if (line.includes('"event":"listening"')) resolve(JSON.parse(line) as Addresses);
    if (!line.includes('"level":"error"')) return;
    const { event } = JSON.parse(line) as { event: string };
    errors.set(event, (errors.get(event) ?? 0) + 1);
    if (event !== 'config_reload_refused') console.error(line);
  });
  return promise;
}
