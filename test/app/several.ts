// The real program with several worker processes, before a real upstream and over a real Redis.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { type Running, scratchFolder, start } from '../cli/processes.ts';
import { type RecordingUpstream, recordingUpstream } from '../support/recording-upstream.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';
import { configFor, tokenFor } from '../support/sidecar.ts';

/** What a test works with. */
export interface Several extends AsyncDisposable {
  readonly program: Running;
  readonly upstream: RecordingUpstream;
  readonly redis: RedisServer;
  readonly proxy: string;
  readonly folder: string;
  /** Process ids of the workers of the moment. */
  workers(): number[];
  /** One request on a connection of its own; the kernel chooses the worker. 0: the connection ended without an answer. */
  status(token?: string, path?: string): Promise<number>;
  statuses(count: number, token?: string): Promise<number[]>;
  /** A call to the admin port. */
  admin(method: string, path: string, body?: object): Promise<{ readonly status: number; readonly json: Loose }>;
  ready(): Promise<{ readonly status: number; readonly json: Loose }>;
  /** Value of one line of the scrape; 0 when it is not there. */
  metric(line: string): Promise<number>;
  /** Parsed log lines so far. */
  logged(): Loose[];
  writeConfig(config: object): void;
}

/** JSON of unknown shape. */
export interface Loose {
  readonly [name: string]: Loose;
}

/** Waits until the condition holds; generous, because the machine may be busy. */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  what: string,
  /** Said when it never comes. */
  seen: () => unknown = () => undefined,
): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await condition())) {
    if (Date.now() >= deadline) assert.fail(`never: ${what} ${JSON.stringify(await seen())}`);
    await sleep(50);
  }
}

/** Children of a process, as the system has them. */
export function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return text === '' ? [] : text.split(' ').map(Number);
  } catch {
    return [];
  }
}

/** True while the process is there and no zombie. */
export function lives(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** Starts everything with two workers; `config` as for `configFor`. */
export async function several(
  config: Readonly<Record<string, unknown>> = {},
  handler?: Parameters<typeof recordingUpstream>[0],
): Promise<Several> {
  // Moved out at the end: what was started ends too when the rest does not come up.
  await using closing = new AsyncDisposableStack();
  const folder = closing.use(scratchFolder());
  const redis = closing.use(await startRedis());
  const upstream = closing.use(await recordingUpstream(handler));
  const { proxy = {}, ...rest } = config as { proxy?: object };
  // Longer than a busy machine lets a process wait: with Redis there, no test is about its being late.
  const whole = { redis: { url: { value: redis.url }, timeout: '5s' }, ...rest, proxy: { workers: 2, ...proxy } };
  const writeConfig = (next: object) => writeFileSync(folder.file('sidecar.yaml'), JSON.stringify(next));
  writeConfig(configFor(upstream.url, whole));
  const program = closing.use(start(['run'], { cwd: folder.path }));
  const agent = new Agent();
  closing.defer(() => agent.destroy());
  const [, url, admin, observe] = (await program.until(
    /"proxy":"([^"]+)","admin":"([^"]+)","observe":"([^"]+)".*"event":"listening"/,
  )) as unknown as [string, string, string, string];
  const adminToken = readFileSync(folder.file('.doorward/admin.token'), 'utf8').trim();
  const status = (token?: string, path = '/') => rawStatus(Number(new URL(url).port), path, token);
  const end = closing.move();
  const observed = async (path: string) => {
    const answer = await request(`${observe}${path}`, { dispatcher: agent });
    return { status: answer.statusCode, text: await answer.body.text() };
  };
  return {
    ...{ program, upstream, redis, status, writeConfig },
    proxy: url,
    folder: folder.path,
    workers: () => childrenOf(program.pid),
    statuses: (count, token) => Promise.all(Array.from({ length: count }, () => status(token))),
    async admin(method, path, body) {
      const answer = await request(`${admin}${path}`, {
        method: method as 'GET',
        dispatcher: agent,
        headers: { authorization: `Bearer ${adminToken}`, ...(body && { 'content-type': 'application/json' }) },
        body: body === undefined ? null : JSON.stringify(body),
      });
      const text = await answer.body.text();
      return { status: answer.statusCode, json: text === '' ? undefined : JSON.parse(text) };
    },
    async ready() {
      const { status: code, text } = await observed('/readyz');
      return { status: code, json: JSON.parse(text) };
    },
    async metric(line) {
      const { text } = await observed('/metrics');
      return Number(
        text
          .split('\n')
          .find((each) => each.startsWith(`${line} `))
          ?.slice(line.length + 1) ?? 0,
      );
    },
    logged: () => logLines(program.out()),
    [Symbol.asyncDispose]: () => end.disposeAsync(),
  };
}

/** Whole lines of a log. */
export function logLines(text: string): Loose[] {
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

/** Good tokens for callers of their own. */
export const tokens = (count: number) => Array.from({ length: count }, (_, at) => tokenFor({ sub: `caller-${at}` }));

function rawStatus(port: number, path: string, token: string | undefined): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  const socket = connect(port, '127.0.0.1');
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
  });
  socket.on('error', () => undefined);
  socket.on('close', () => resolve(Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0)));
  const authorization = token === undefined ? '' : `Authorization: Bearer ${token}\r\n`;
  socket.write(`GET ${path} HTTP/1.1\r\nHost: app.test\r\n${authorization}Connection: close\r\n\r\n`);
  return promise;
}
