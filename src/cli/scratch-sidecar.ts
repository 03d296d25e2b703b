// A sidecar without a file, for `dev` and `demo`: memory stores, an issuer of its own, free ports, and a private folder that
// goes with it. Calls its own admin port for tokens, as anybody else would.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Sidecar } from '../app.ts';
import type { SidecarInput } from '../config/schema.ts';
import { type AdminOptions, callAdmin } from './admin-client.ts';
import { startFailure } from './run.ts';
import type { Terminal } from './terminal.ts';

/** A running scratch sidecar. Disposing it ends it and removes its folder. */
export interface ScratchSidecar extends AsyncDisposable {
  readonly sidecar: Sidecar;
  /** For further calls to its admin socket. */
  readonly adminOptions: AdminOptions;
  readonly adminToken: string;
  issue(request: Readonly<Record<string, unknown>>): Promise<string>;
}

/** What a scratch sidecar serves. */
export interface ScratchOptions {
  readonly upstream: string;
  /** 0 for a free one. */
  readonly port: number;
  readonly limits?: SidecarInput['limits'];
  readonly routes: SidecarInput['routes'];
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
    },
    admin: { listen: '127.0.0.1:0' },
    observe: { listen: '127.0.0.1:0' },
    upstreams: { app: { url: options.upstream } },
    issuers: { self: { issuer: 'http://doorward.localhost', audience: ['api'], sign: { lifetime: '12h' } } },
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    routes: options.routes,
  };
}

/** Opens it. Throws CliError when it cannot start. */
export async function openScratch(options: ScratchOptions, terminal: Terminal): Promise<ScratchSidecar> {
  const [{ openSidecar }, { openLog }, { stringify }] = await Promise.all([
    import('../app.ts'),
    import('../telemetry/log.ts'),
    import('yaml'),
  ]);
  const folder = mkdtempSync(join(tmpdir(), 'doorward-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    const file = join(folder, 'sidecar.yaml');
    writeFileSync(file, stringify(scratchConfig(options)), { mode: 0o600 });
    const { onRefusal } = options;
    const log = openLog('error', process.stderr);
    // No variables: a DOORWARD__ setting of the shell is meant for another sidecar.
    const sidecar = await openSidecar({ file, env: {}, log, ...(onRefusal === undefined ? {} : { onRefusal }) });
    const adminOptions = { config: file, stateDir: sidecar.stateDir };
    return {
      sidecar,
      adminOptions,
      adminToken: readFileSync(sidecar.adminTokenFile, 'utf8').trim(),
      issue: async (body) => {
        const call = { method: 'POST', path: '/v1/tokens', body } as const;
        return ((await callAdmin(adminOptions, terminal, call)) as { token: string }).token;
      },
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
