// Real Redis for tests: finds redis-server or installs it from the system's packages, and starts private instances.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port.ts';
import { ensureCommand } from './system-packages.ts';

/** Makes sure that `redis-server` is on the PATH; throws with the command to type when it cannot be installed. */
export const ensureRedisServer = (): void => ensureCommand('redis-server', '--version');

/** A private Redis on loopback with its own folder; ends with `await using`. */
export interface RedisServer extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  /** Ends the process (SIGKILL unless told), keeps its folder and port. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same port, unless it runs; it loads what it had saved. */
  start(): Promise<void>;
  /** Sends a signal, such as SIGSTOP and SIGCONT, and waits for nothing. */
  signal(signal: NodeJS.Signals): void;
}

async function answers(port: number): Promise<boolean> {
  const socket = createConnection(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    socket.write('PING\r\n');
    const [reply] = await once(socket, 'data');
    // LOADING and MASTERDOWN are answers too: it listens.
    return /^(\+PONG|-)/.test(String(reply));
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** Starts a private redis-server with `extra` arguments, and resolves once it answers. */
export async function startRedis(...extra: string[]): Promise<RedisServer> {
  const port = await freePort();
  return launchRedis(port, (dir) => [
    ...['--port', String(port), '--bind', '127.0.0.1', '--dir', dir],
    ...['--save', '', '--appendonly', 'no', ...extra],
  ]);
}

/**
 * Starts redis-server with exactly these arguments, made from its own folder, and resolves once `isUp`: it answers on `port`.
 * `more` is added to its environment.
 */
export async function launchRedis(
  port: number,
  args: (dir: string) => readonly string[],
  isUp: (port: number) => Promise<boolean> = answers,
  more: NodeJS.ProcessEnv = {},
): Promise<RedisServer> {
  const dir = mkdtempSync(join(tmpdir(), 'doorward-redis-'));
  const given = args(dir);
  let child: ChildProcess | undefined;
  const start = async () => {
    if (child !== undefined && child.exitCode === null && child.signalCode === null) return;
    child = spawn('redis-server', given, { stdio: 'ignore', env: { ...process.env, ...more } });
    for (let attempt = 0; attempt < 400; attempt += 1) {
      if (await isUp(port)) return;
      await sleep(25);
    }
    await stop();
    throw new Error(`redis-server did not answer on port ${port}`);
  };
  const stop = async (signal: NodeJS.Signals = 'SIGKILL') => {
    if (child === undefined || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
    child = undefined;
  };
  await start();
  return {
    port,
    url: `redis://127.0.0.1:${port}/0`,
    start,
    stop,
    signal: (signal) => void child?.kill(signal),
    async [Symbol.asyncDispose]() {
      await stop();
      // A child of the server that was writing a dump is a moment behind it.
      rmSync(dir, { recursive: true, force: true, maxRetries: 10 });
    },
  };
}
