// One plain request of an actor, and the check that the answer is its own.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { Pool } from 'undici';
import type { Echo } from '../upstream.ts';
import type { Caller, World } from '../world.ts';

/** An actor: works until the signal, then resolves. */
export type Actor = (world: World, stopped: AbortSignal) => Promise<void>;

/** Connections of one actor to the proxy. */
export function poolTo(world: World, connections: number): Pool & AsyncDisposable {
  const pool = new Pool(world.sidecar.addresses.proxy, { connections, keepAliveTimeout: 10_000 });
  return Object.assign(pool, { [Symbol.asyncDispose]: () => pool.close() });
}

/** Header fields of a request with its number. */
export const fieldsOf = (seq: string, token: string) => ({ authorization: `Bearer ${token}`, 'x-soak-seq': seq });

/** SHA-256 as hex. */
export const sha256 = (bytes: string | Buffer) => createHash('sha256').update(bytes).digest('hex');

/** Throws unless `text` is the echo of this request by this caller. */
export function assertEcho(text: string, seq: string, caller: Caller, method: string, body: string | Buffer): void {
  const echo: Echo = {
    seq,
    method,
    subject: caller.subject,
    bytes: Buffer.byteLength(body),
    sha256: sha256(body),
  };
  assert.deepEqual(JSON.parse(text), echo, 'the answer belongs to another request');
}

/** Repeats `work` with `pauseMs` between until the signal; `lanes` at a time. */
export async function repeat(
  stopped: AbortSignal,
  lanes: number,
  pauseMs: number,
  work: () => Promise<void>,
): Promise<void> {
  const lane = async () => {
    while (!stopped.aborted) {
      await work();
      await pause(pauseMs, stopped);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

/** Waits, less when the signal comes first. */
export function pause(ms: number, stopped: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const onAbort = () => resolve();
  stopped.addEventListener('abort', onAbort, { once: true });
  return promise.finally(() => {
    clearTimeout(timer);
    stopped.removeEventListener('abort', onAbort);
  });
}
