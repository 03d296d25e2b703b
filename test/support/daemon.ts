// A program of the system that serves a port (nginx, HAProxy, Caddy, …) as a process of its own, with a folder and a
// configuration that are gone when it ends.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port.ts';
import { ensureCommand } from './system-packages.ts';

/** A program that serves `port` of 127.0.0.1. */
export interface Daemon extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
}

/** How a program is started. */
export interface DaemonPlan {
  readonly command: string;
  /** Makes sure of the program: its flag for its version, and the package that brings it when that is named otherwise. */
  readonly versionFlag: string;
  readonly systemPackage?: string;
  /** Its configuration for a port, and the arguments that make it read `file` and stay in the foreground. */
  configure(at: { readonly port: number; readonly file: string; readonly dir: string }): {
    readonly text: string;
    readonly args: readonly string[];
  };
  /** Where it logs inside its folder, if not to its standard error. */
  readonly logFile?: string;
}

const ATTEMPTS = 1200;
const EVERY_MS = 25;

/** Starts it and resolves when its port takes connections; rejects with what it said when it ends before, or within 30 s does not. */
export async function startDaemon(plan: DaemonPlan): Promise<Daemon> {
  ensureCommand(plan.command, plan.versionFlag, plan.systemPackage);
  const dir = mkdtempSync(join(tmpdir(), `doorward-${plan.command}-`));
  const port = await freePort();
  const file = join(dir, 'config');
  const { text, args } = plan.configure({ port, file, dir });
  writeFileSync(file, text);
  const env = { ...process.env, HOME: dir, XDG_DATA_HOME: dir, XDG_CONFIG_HOME: dir };
  const child = spawn(plan.command, args, { stdio: ['ignore', 'ignore', 'pipe'], env });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-20_000);
  });
  const exited = once(child, 'exit');
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    await exited;
    rmSync(dir, { recursive: true, force: true });
  };
  for (let attempt = 0; !(await accepts(port)); attempt += 1) {
    if (child.exitCode !== null || attempt > ATTEMPTS) {
      const log = plan.logFile === undefined ? '' : join(dir, plan.logFile);
      const logged = existsSync(log) ? readFileSync(log, 'utf8') : '';
      await stop();
      throw new Error(`${plan.command} did not start: ${said}${logged}`);
    }
    await sleep(EVERY_MS);
  }
  return { port, url: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: stop };
}

/** Whether somebody listens on a port of 127.0.0.1. */
export async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
