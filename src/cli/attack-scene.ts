// The operator's configuration once more in this process, as `doorward attack` needs it: the same routes, rules and TLS, but a
// recorder for every upstream, throw-away keys for every issuer, memory instead of stores, limits that nobody meets, a free
// port, and a folder that goes with it. Nothing outside is touched.
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LoadedConfig } from '../config/loaded.ts';
import { resolveBeside } from '../config/secrets.ts';
import { type ForgeKey, forgeKey } from './attack-forge.ts';
import type { Door } from './attack-wire.ts';
import { startFailure } from './run.ts';
import type { Terminal } from './terminal.ts';

/** What stands behind the sidecar: writes down every byte and answers 200. */
export interface Recorder extends AsyncDisposable {
  readonly url: string;
  /** Everything received since `clear`, latin1. */
  bytes(): string;
  clear(): void;
}

/** The scene of an attack. */
export interface Scene extends AsyncDisposable {
  readonly door: (host: string) => Door;
  readonly recorder: Recorder;
  /** Keys by issuer block. */
  readonly keys: ReadonlyMap<string, ForgeKey>;
}

/** Starts the recorder. */
export async function openRecorder(): Promise<Recorder> {
  let bytes = '';
  const server = createServer((request, response) => {
    request.resume();
    request.on('error', () => {});
    response.end('doorward attack');
  });
  server.on('upgrade', (_, socket) => socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n'));
  server.on('connection', (socket) => socket.on('data', (chunk) => (bytes += chunk.toString('latin1'))));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    bytes: () => bytes,
    clear: () => {
      bytes = '';
    },
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

type Block = Record<string, unknown>;
const mapped = (blocks: unknown, change: (block: Block, name: string) => Block): Block =>
  Object.fromEntries(
    Object.entries((blocks ?? {}) as Block).map(([name, block]) => [name, change(block as Block, name)]),
  );

/** Secrets in files, as seen from another folder. */
function absolute(value: unknown, file: string): unknown {
  if (Array.isArray(value)) return value.map((each) => absolute(each, file));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value);
  if (entries.length === 1 && entries[0]?.[0] === 'file') return { file: resolveBeside(file, String(entries[0][1])) };
  return Object.fromEntries(entries.map(([name, each]) => [name, absolute(each, file)]));
}

/** The configuration of the second instance, in the spelling of a file. */
export function sceneConfig(loaded: LoadedConfig, upstream: string, keys: ReadonlyMap<string, ForgeKey>): Block {
  const tree = absolute(structuredClone(loaded.effective), loaded.file) as Record<string, Block>;
  const { proxy = {}, issuers, limits, upstreams, routes, defaults, identity_headers } = tree;
  const { tls, workers: _, ...rest } = proxy as Block & { tls?: Block };
  return {
    version: 1,
    name: tree.name ?? 'attack',
    state_dir: 'state',
    proxy: {
      ...rest,
      listen: '127.0.0.1:0',
      endpoints: { ...(rest.endpoints as Block), oauth: false },
      // Attacks come in numbers; what is asked is whether one gets through, not when the address is shut out.
      bad_tokens: '1000000/1m',
      drain: { delay: '0s', timeout: '1s' },
      ...(tls && { tls: weakerTls(tls) }),
    },
    admin: { listen: 'off' },
    observe: { listen: 'off' },
    log: { level: 'silent' },
    upstreams: mapped(upstreams, ({ streams, connections }) => ({ url: upstream, streams, connections })),
    issuers: mapped(issuers, ({ sign: _sign, keys: _keys, ...issuer }, name) => ({
      ...issuer,
      keys: keys.get(name)?.block,
    })),
    limits: mapped(limits, ({ tiers: _tiers, default_tier: _tier, algorithm: _algorithm, ...limit }) => ({
      ...limit,
      rate: '1000000/1m',
    })),
    ...{ defaults, routes, identity_headers },
    revocation: tree.revocation,
  };
}

/** Clients without a certificate get in too, and under any name: all the more can be tried. */
function weakerTls({ client_certificate, ...tls }: Block): Block {
  const mode = client_certificate === 'required' ? 'optional' : client_certificate;
  return { ...tls, client_certificate: mode, unknown_host: 'first' };
}

/** Starts it. Throws CliError when it cannot start. */
export async function openScene(loaded: LoadedConfig, terminal: Terminal): Promise<Scene> {
  const [{ openSidecar }, { openLog }] = await Promise.all([import('../app.ts'), import('../telemetry/log.ts')]);
  const keys = new Map(Object.entries(loaded.config.issuers).map(([name, issuer]) => [name, forgeKey(issuer)]));
  const closing = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), 'doorward-attack-'));
  closing.defer(() => rmSync(folder, { recursive: true, force: true }));
  try {
    const recorder = closing.use(await openRecorder());
    const file = join(folder, 'sidecar.yaml');
    // JSON is YAML. The secrets of the listener are still references.
    writeFileSync(file, JSON.stringify(sceneConfig(loaded, recorder.url, keys)), { mode: 0o600 });
    const env = Object.fromEntries(Object.entries(terminal.env).filter(([name]) => !name.startsWith('DOORWARD__')));
    const sidecar = closing.use(await openSidecar({ file, env, log: openLog('silent') }));
    const { hostname, port, protocol } = new URL(sidecar.proxyUrl);
    const door = (host: string): Door => ({
      host: hostname,
      port: Number(port),
      ...(protocol === 'https:' && { tls: { serverName: host, ca: undefined, verify: false } }),
    });
    const scene = { door, recorder, keys };
    return { ...scene, [Symbol.asyncDispose]: () => closing.disposeAsync() };
  } catch (error) {
    await closing.disposeAsync();
    throw await startFailure(error);
  }
}
