// A sidecar without a file, for `dev` and `demo`: memory stores, an issuer of its own, free ports, and a private folder that
// goes with it; with `control` an embedded PostgreSQL and the OAuth endpoints too. Calls its own admin port for tokens, as
// anybody else would.
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Sidecar } from '../app/sidecar.ts';
import type { SidecarInput } from '../config/schema.ts';
import { type AdminOptions, callAdmin } from './admin-client.ts';
import { CliError } from './exit-codes.ts';
import { startFailure } from './run.ts';
import type { Terminal } from './terminal.ts';

/** A running scratch sidecar. Disposing it ends it and removes its folder. */
export interface ScratchSidecar extends AsyncDisposable {
  readonly sidecar: Sidecar;
  /** For further calls to its admin socket. */
  readonly adminOptions: AdminOptions;
  readonly adminToken: string;
  issue(request: Readonly<Record<string, unknown>>): Promise<string>;
  /** Calls its admin port. */
  call(method: 'GET' | 'POST', path: string, body?: Readonly<Record<string, unknown>>): Promise<unknown>;
}

/** What a scratch sidecar serves. */
export interface ScratchOptions {
  readonly upstream: string;
  /** 0 for a free one. */
  readonly port: number;
  readonly limits?: SidecarInput['limits'];
  readonly routes: SidecarInput['routes'];
  /** With an embedded PostgreSQL: clients, OAuth endpoints, audit. `port` must not be 0 then: the issuer names it. */
  readonly control?: boolean;
  readonly onRefusal?: (decision: Readonly<Record<string, unknown>>) => void;
}

/** The configuration of a scratch sidecar, as it could stand in a file. */
export function scratchConfig(options: ScratchOptions): SidecarInput {
  return {
    version: 1,
    state_dir: 'state',
    proxy: {
      listen: `127.0.0.1:${options.port}`,
      error_detail: 'reason',
      drain: { delay: '0s', timeout: '2s' },
      ...(options.control ? { endpoints: { oauth: true } } : {}),
    },
    ...(options.control ? { postgres: { embedded: true } } : {}),
    admin: { listen: '127.0.0.1:0' },
    observe: { listen: '127.0.0.1:0' },
    upstreams: { app: { url: options.upstream } },
    issuers: { self: { issuer: issuerOf(options), audience: ['api'], sign: { lifetime: '12h' } } },
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    routes: options.routes,
  };
}

/** What clients find the OAuth endpoints under is where they are. */
const issuerOf = ({ control, port }: ScratchOptions) =>
  control ? `http://127.0.0.1:${port}` : 'http://doorward.localhost';

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Opens it. Throws CliError when it cannot start. */
export async function openScratch(options: ScratchOptions, terminal: Terminal): Promise<ScratchSidecar> {
  if (terminal.env.NODE_ENV === 'production') {
    const message =
      'dev and demo are for trying out, with keys and stores that end with them: NODE_ENV is production here';
    throw new CliError('configuration_refused', message);
  }
  const [{ openSidecar }, { removeEmbeddedPostgres }, { openLog }, { stringify }] = await Promise.all([
    import('../app.ts'),
    import('../app/embedded.ts'),
    import('../telemetry/log.ts'),
    import('yaml'),
  ]);
  const folder = mkdtempSync(join(tmpdir(), 'doorward-'));
  const remove = () => {
    if (options.control) removeEmbeddedPostgres(join(folder, 'state'));
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const file = join(folder, 'sidecar.yaml');
    writeFileSync(file, stringify(scratchConfig(options)), { mode: 0o600 });
    const { onRefusal } = options;
    const log = openLog('error', process.stderr);
    // No variables: a DOORWARD__ setting of the shell is meant for another sidecar.
    const sidecar = await openSidecar({ file, env: {}, log, ...(onRefusal === undefined ? {} : { onRefusal }) });
    const adminOptions = { config: file, stateDir: sidecar.stateDir };
    const call: ScratchSidecar['call'] = (method, path, body) =>
      callAdmin(adminOptions, terminal, { method, path, ...(body === undefined ? {} : { body }) });
    return {
      sidecar,
      adminOptions,
      adminToken: readFileSync(sidecar.adminTokenFile, 'utf8').trim(),
      issue: async (body) => ((await call('POST', '/v1/tokens', body)) as { token: string }).token,
      call,
      async [Symbol.asyncDispose]() {
        await sidecar[Symbol.asyncDispose]();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw await startFailure(error);
  }
}

/** Resolves with the first SIGINT, SIGTERM or SIGHUP. */
export async function untilInterrupted(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const onSignal = () => resolve();
  for (const signal of signals) process.on(signal, onSignal);
  await promise;
  for (const signal of signals) process.off(signal, onSignal);
}
