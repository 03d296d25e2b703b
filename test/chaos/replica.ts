// A sidecar of a chaos run: the real program as a process with ports of its own that outlive a kill -9, and the calls made to it.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Agent, type Dispatcher, request } from 'undici';
import { freePort } from '../support/free-port.ts';
import { ensureFakeClock } from '../support/system-packages.ts';

const MAIN = resolve(import.meta.dirname, '../../src/main.ts');

/** Longer than this is a hang: above the response timeout and the timeout of Redis with ample room for a busy machine. */
export const HANG_MS = 20_000;

/** Where the issuer that the sidecars are themselves is to be found by its clients. */
export const ISSUER_HOST = 'id.chaos.test';

const PATIENCE = { headersTimeout: HANG_MS, bodyTimeout: HANG_MS };

/** What is logged where an error went past everybody who could have answered for it. */
const DEFECTS: ReadonlySet<string> = new Set([
  'unhandled_rejection',
  'uncaught_exception',
  'admin_defect',
  'oauth_defect',
]);

type Asked = Omit<Dispatcher.RequestOptions, 'origin'>;

/** What came of a call; `status` 0 when there was no whole answer. */
export interface Answer {
  readonly status: number;
  readonly text: string;
  /** `code` of a problem document, or of the error. */
  readonly code: string;
}

/** `code` of a problem document, `error` of an OAuth answer, or the status; `ok` below 400. */
export function codeOf(status: number, text: string): string {
  return status < 400 ? 'ok' : (/"(?:code|error)":"(\w+)"/.exec(text)?.[1] ?? String(status));
}

/** One sidecar. */
export class Replica implements AsyncDisposable {
  readonly name: string;
  readonly #folder: string;
  readonly #main: string;
  readonly #agent = new Agent({ connections: 64, ...PATIENCE });
  readonly #operator: Agent;
  #ports: readonly number[] = [];
  #child: ChildProcess | undefined;
  /** Lines of level error, by event. */
  readonly errors = new Map<string, number>();
  /** Such lines that no fault may bring about. */
  readonly defects: string[] = [];

  readonly #clock: NodeJS.ProcessEnv;

  /** `main` is the program, ours unless told; `settable` when its clock is to be set. */
  constructor(name: string, folder: string, { main = MAIN, settable = false } = {}) {
    this.name = name;
    this.#clock = settable ? fakeClock(join(folder, `${name}.clock`)) : {};
    this.#folder = join(folder, name);
    this.#main = main;
    this.#operator = new Agent({ ...PATIENCE, connect: { socketPath: join(this.#folder, 'state/admin.sock') } });
  }

  /** Of the process, while it lives. */
  get pid(): number | undefined {
    const { pid, exitCode = 0, signalCode } = this.#child ?? {};
    return exitCode === null && signalCode === null ? pid : undefined;
  }

  /** Of the proxy. */
  get port(): number {
    return this.#ports[0] as number;
  }

  /** Chooses the ports, writes `config` with them, and starts. */
  async open(config: Readonly<Record<string, unknown>>): Promise<void> {
    const ports = new Set<number>();
    while (ports.size < 3) ports.add(await freePort());
    this.#ports = [...ports];
    mkdirSync(this.#folder, { recursive: true });
    const [proxy, admin, observe] = this.#ports.map((port) => ({ listen: `127.0.0.1:${port}` }));
    const drain = { delay: '0s', timeout: '2s' };
    const whole = {
      ...config,
      state_dir: join(this.#folder, 'state'),
      proxy: { ...(config.proxy ?? {}), ...proxy, drain },
      admin,
      observe,
    };
    writeFileSync(join(this.#folder, 'sidecar.yaml'), JSON.stringify(whole));
    await this.start();
  }

  /** Starts the process, `main` from now on when given; resolves once it listens. */
  async start(main = this.#main): Promise<void> {
    const args = [main, 'run', '--config', join(this.#folder, 'sidecar.yaml')];
    const env = { ...process.env, ...this.#clock };
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], env });
    this.#child = child;
    let rest = '';
    const listening = Promise.withResolvers<void>();
    child.once('exit', (code, signal) => listening.reject(new Error(`${this.name} ended: ${code ?? signal} ${rest}`)));
    child.stdout.on('data', (chunk) => {
      const lines = `${rest}${chunk}`.split('\n');
      rest = lines.pop() as string;
      for (const line of lines) {
        if (line.includes('"event":"listening"')) listening.resolve();
        const event = line.includes('"level":"error"') ? /"event":"(\w+)"/.exec(line)?.[1] : undefined;
        if (event === undefined) continue;
        this.errors.set(event, (this.errors.get(event) ?? 0) + 1);
        if (DEFECTS.has(event)) this.defects.push(line);
      }
    });
    await listening.promise;
  }

  /** Ends the process: kill -9 unless told. */
  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }

  /** Sets the clock of the process so far from the machine's, forward or back; it notices within a second or two. */
  setClock(offsetS: number): void {
    const { FAKETIME_TIMESTAMP_FILE: file } = this.#clock;
    if (file === undefined) throw new TypeError('a replica whose clock is not settable');
    writeFileSync(`${file}.new`, offsetText(offsetS));
    renameSync(`${file}.new`, file);
  }

  /** From now on no file may grow beyond `bytes` (EFBIG, as ENOSPC on a full disk); `undefined` ends that. */
  limitFiles(bytes: number | undefined): void {
    const soft = `--fsize=${bytes ?? 'unlimited'}:`;
    const { status, stderr } = spawnSync('prlimit', ['--pid', String(this.#child?.pid), soft], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`prlimit: ${stderr}`);
  }

  /** One request through the proxy port; a POST carries a body, so nobody may send it twice. */
  ask(path: string, token: string, method: 'GET' | 'POST' = 'GET', seq = '-'): Promise<Answer> {
    const headers = { authorization: `Bearer ${token}`, 'x-chaos-seq': seq };
    return this.#call(0, { method, path, headers, ...(method === 'POST' ? { body: 'order' } : {}) });
  }

  /** One call of an OAuth endpoint on the proxy port, by a client with its secret. */
  oauth(
    endpoint: string,
    { id, secret }: { id: string; secret: string },
    form: Record<string, string>,
  ): Promise<Answer> {
    const headers = {
      host: ISSUER_HOST,
      authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`,
      'content-type': 'application/x-www-form-urlencoded',
    };
    const body = new URLSearchParams(form).toString();
    return this.#call(0, { method: 'POST', path: `/.doorward/oauth/${endpoint}`, headers, body });
  }

  /** One call of the admin API, over its socket. */
  admin(method: 'GET' | 'POST' | 'PUT', path: string, body?: object): Promise<Answer> {
    const json = body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    return this.#call(1, { method, path, ...json }, this.#operator);
  }

  /** What /readyz says: `ready` or what is amiss. Warnings about how Redis is set up are not: they are read anew each minute only. */
  async readiness(): Promise<string> {
    const { status, text } = await this.#call(2, { method: 'GET', path: '/readyz' });
    if (status === 0) return 'gone';
    const { status: word, components } = JSON.parse(text) as Readiness;
    const troubled = Object.entries(components).filter(([, one]) => one.status !== 'up' && !isWarned(one));
    const pending = components.revocations?.detail?.pending ?? 0;
    if (pending > 0) return `${pending} pending`;
    const fine = word !== 'not_ready' && troubled.length === 0;
    return fine ? 'ready' : `${word}: ${JSON.stringify(Object.fromEntries(troubled))}`;
  }

  async #call(port: number, options: Asked, dispatcher = this.#agent): Promise<Answer> {
    let status = 0;
    try {
      const { path, ...rest } = options;
      const answer = await request(`http://127.0.0.1:${this.#ports[port]}${path}`, {
        dispatcher,
        ...rest,
      });
      status = answer.statusCode;
      const text = await answer.body.text();
      return { status, text, code: codeOf(status, text) };
    } catch (error) {
      const { code = 'error' } = error as NodeJS.ErrnoException;
      return { status: 0, text: String(error), code: status === 0 ? code : `cut_${status}` };
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await Promise.all([this.#agent.destroy(), this.#operator.destroy()]);
  }
}

const offsetText = (offsetS: number) => `${offsetS < 0 ? '' : '+'}${offsetS}\n`;

/** Wall time as `file` says; time that passes stays true, as when an operator or NTP sets the clock of a machine. */
function fakeClock(file: string): NodeJS.ProcessEnv {
  writeFileSync(file, offsetText(0));
  const fake = { FAKETIME_TIMESTAMP_FILE: file, FAKETIME_CACHE_DURATION: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1' };
  return { LD_PRELOAD: ensureFakeClock(), ...fake };
}

interface Component {
  readonly status: string;
  readonly detail?: { readonly pending?: number; readonly warnings?: readonly string[] };
}

interface Readiness {
  readonly status: string;
  readonly components: Record<string, Component>;
}

const isWarned = ({ status, detail }: Component) => status === 'degraded' && (detail?.warnings?.length ?? 0) > 0;
