// The application behind the sidecars of a chaos run, as a process that can be killed. It writes the number of every request
// into a file before it answers, so that what it saw outlives it. Run as a program: `node application.ts PORT FILE`.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import { freePort } from '../support/redis-server.ts';

/** A running application. */
export interface Application extends AsyncDisposable {
  readonly port: number;
  /** kill -9. */
  kill(): Promise<void>;
  /** Starts it again on its port. */
  start(): Promise<void>;
  /** How often it saw each request, over all its lives. */
  seen(): Map<string, number>;
}

/** Starts it; `file` takes the numbers. */
export async function startApplication(file: string): Promise<Application> {
  const port = await freePort();
  writeFileSync(file, '');
  let child: ChildProcess;
  const start = async () => {
    child = spawn(process.execPath, [import.meta.filename, String(port), file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout as NodeJS.ReadableStream, 'data');
  };
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  await start();
  return { port, kill, start, seen: () => countLines(file), [Symbol.asyncDispose]: kill };
}

function countLines(file: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const line of readFileSync(file, 'utf8').split('\n')) if (line) counts.set(line, (counts.get(line) ?? 0) + 1);
  return counts;
}

function serve(port: number, file: string): void {
  const numbers = openSync(file, 'a');
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    writeSync(numbers, `${request.headers['x-chaos-seq']}\n`);
    request.resume().on('end', () => response.end(request.headers['x-chaos-seq'] as string));
  });
  server.listen(port, '127.0.0.1', () => process.stdout.write('up\n'));
}

if (process.argv[1] === import.meta.filename) serve(Number(process.argv[2]), process.argv[3] as string);
