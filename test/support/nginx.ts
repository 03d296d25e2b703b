// A real nginx as a process of its own, on free ports, with the shipped recipes of config/examples/nginx.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './redis-server.ts';
import { ensureCommand } from './system-packages.ts';

const recipes = new URL('../../config/examples/nginx/', import.meta.url);

/** A running nginx. */
export interface Nginx extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
}

/** A shipped recipe with other addresses in the place of its own, which must all occur. */
export function recipe(name: string, replaced: Readonly<Record<string, string>>): string {
  let text = readFileSync(new URL(name, recipes), 'utf8');
  for (const [from, to] of Object.entries(replaced)) {
    if (!text.includes(from)) throw new Error(`${name} does not hold ${from}`);
    text = text.replaceAll(from, to);
  }
  return text;
}

/** Starts nginx on a free port; `http` gives what stands in its http block for that port. */
export async function startNginx(http: (listen: string) => string): Promise<Nginx> {
  ensureCommand('nginx', '-v');
  const dir = mkdtempSync(join(tmpdir(), 'doorward-nginx-'));
  const port = await freePort();
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${dir}/${name};`);
  const own = `access_log off; ${paths.join(' ')}`;
  const main = `worker_processes 1; pid ${dir}/pid; error_log ${dir}/error.log; events { worker_connections 4096; }`;
  writeFileSync(join(dir, 'nginx.conf'), `${main}\nhttp { ${own}\n${http(`listen 127.0.0.1:${port}`)}\n}\n`);
  const args = ['-p', dir, '-e', join(dir, 'error.log'), '-c', join(dir, 'nginx.conf'), '-g', 'daemon off;'];
  const child = spawn('nginx', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  const exited = once(child, 'exit');
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    await exited;
    rmSync(dir, { recursive: true, force: true });
  };
  for (let attempt = 0; !(await accepts(port)); attempt += 1) {
    if (child.exitCode !== null || attempt > 200) {
      const log = readFileSync(join(dir, 'error.log'), 'utf8');
      await stop();
      throw new Error(`nginx did not start: ${said}${log}`);
    }
    await sleep(25);
  }
  return { port, url: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: stop };
}

async function accepts(port: number): Promise<boolean> {
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
