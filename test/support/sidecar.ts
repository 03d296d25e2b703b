// A real sidecar in this process: its own state folder, ports chosen by the system, logs kept in memory.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Sidecar, SidecarOptions } from '../../src/app/sidecar.ts';
import { openSidecar } from '../../src/app.ts';
import type { Clock } from '../../src/core/clock.ts';
import { openLog } from '../../src/telemetry/log.ts';
import { mintKey, mintToken } from './minting.ts';

/** The issuer that {@link startSidecar} configures unless told otherwise; its tokens come from {@link tokenFor}. */
export const testIssuer = 'https://id.test/';
const testKey = mintKey('ES256', 'test-key');

/** Issuer block that trusts {@link tokenFor}. */
export const testIssuerBlock = {
  issuer: testIssuer,
  audience: ['api'],
  keys: { inline: { keys: [testKey.jwk] } },
};

/** A good token of the test issuer; `claims` are merged over the default ones. */
export function tokenFor(claims: Readonly<Record<string, unknown>> = {}): string {
  return mintToken(testKey, testIssuer, Date.now(), { claims: { ...claims } });
}

/** A running sidecar with what tests look at. */
export interface TestSidecar extends Sidecar {
  readonly port: number;
  readonly file: string;
  /** Parsed log lines so far. */
  logged(): Record<string, unknown>[];
  /** The log as text, to search it for secrets. */
  logText(): string;
  /** Writes another configuration into the file (and reloads only if the caller does). */
  writeConfig(config: Readonly<Record<string, unknown>>): void;
}

/** What most tests configure: one upstream, the test issuer, and whatever `config` adds or replaces at the top level. */
export function configFor(
  upstreamUrl: string,
  config: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  const { proxy = {}, log = {}, ...rest } = config as { proxy?: object; log?: object };
  return {
    version: 1,
    name: 'test_app',
    proxy: { listen: '127.0.0.1:0', drain: { delay: '0ms', timeout: '2s' }, ...proxy },
    admin: { listen: '127.0.0.1:0' },
    observe: { listen: '127.0.0.1:0' },
    log: { decisions: { allow: 1, deny: 1 }, ...log },
    upstreams: { app: { url: upstreamUrl } },
    issuers: { test: testIssuerBlock },
    routes: { all: { match: { prefix: '/' } } },
    ...rest,
  };
}

/** Starts a sidecar before `upstreamUrl`, on the machine's clock unless given another. JSON is YAML, so the configuration is written as it is. */
export async function startSidecar(
  upstreamUrl: string,
  config: Readonly<Record<string, unknown>> = {},
  env: Readonly<Record<string, string>> = {},
  clock?: Clock,
  lookup?: SidecarOptions['lookup'],
): Promise<TestSidecar> {
  const dir = mkdtempSync(join(tmpdir(), 'doorward-test-'));
  const file = join(dir, 'sidecar.yaml');
  const writeConfig = (next: Readonly<Record<string, unknown>>) => writeFileSync(file, JSON.stringify(next, null, 2));
  writeConfig(configFor(upstreamUrl, config));
  const lines: string[] = [];
  const log = openLog('debug', { write: (line: string) => void lines.push(line) });
  let sidecar: Sidecar;
  try {
    sidecar = await openSidecar({ file, env, log, ...(clock && { clock }), ...(lookup && { lookup }) });
  } catch (error) {
    rmSync(dir, { recursive: true, force: true });
    throw error;
  }
  return Object.assign(sidecar, {
    file,
    writeConfig,
    port: Number(new URL(sidecar.proxyUrl).port),
    logged: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>),
    logText: () => lines.join(''),
    [Symbol.asyncDispose]: async () => {
      await Object.getPrototypeOf(sidecar)[Symbol.asyncDispose].call(sidecar);
      rmSync(dir, { recursive: true, force: true });
    },
  });
}

/** A sidecar and what stands behind it. */
export interface SidecarWorld<U> extends AsyncDisposable {
  readonly upstream: U;
  readonly sidecar: TestSidecar;
}

/** Starts it before `upstream`; both end together, the upstream also where the sidecar does not start. */
export async function startBefore<U extends AsyncDisposable & { readonly url: string }>(
  upstream: U,
  config: Readonly<Record<string, unknown>> = {},
): Promise<SidecarWorld<U>> {
  await using opening = new AsyncDisposableStack();
  opening.use(upstream);
  const sidecar = opening.use(await startSidecar(upstream.url, config));
  const opened = opening.move();
  return { upstream, sidecar, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}
