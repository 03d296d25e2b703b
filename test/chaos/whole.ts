// When everything is whole again after a fault: both replicas say so, serve every route and revoke for everybody, by themselves.
import { setTimeout as sleep } from 'node:timers/promises';
import { isApplied } from './callers.ts';
import { routes, type World } from './world.ts';

const RECOVERY_MS = 60_000;

/** A failover has aftershocks: what is whole stays whole this long before it counts. */
const SETTLED_MS = 1000;

/** Since when all is whole, in ms of performance.now(), and what was amiss last. */
export interface Wholeness {
  readonly sinceMs: number;
  readonly last: string | undefined;
}

/** Waits until both replicas are ready and not degraded, serve every route, and revoke for everybody; throws after a minute. */
export async function untilWhole(world: World, token: string): Promise<Wholeness> {
  const endMs = performance.now() + RECOVERY_MS;
  let sinceMs = performance.now();
  let last: string | undefined;
  for (;;) {
    const askedMs = performance.now();
    const trouble = await troubleOf(world, token);
    const nowMs = performance.now();
    last = trouble ?? last;
    if (trouble !== undefined) sinceMs = nowMs;
    else if (askedMs - sinceMs > SETTLED_MS) return { sinceMs, last };
    if (nowMs > endMs)
      throw new Error(`no recovery within ${RECOVERY_MS} ms: ${trouble ?? `not for a whole second: ${last}`}`);
    await sleep(20);
  }
}

async function troubleOf({ replicas }: World, token: string): Promise<string | undefined> {
  for (const replica of replicas) {
    const readiness = await replica.readiness();
    if (readiness !== 'ready') return `${replica.name} is ${readiness}`;
    for (const path of routes) {
      const { status, code } = await replica.ask(path, token);
      if (status !== 200) return `${replica.name}${path} answers ${status} ${code}`;
    }
    const draft = { kind: 'subject', issuer: 'https://id.test/', id: 'nobody', until: 'forever', reason: 'probe' };
    const revoked = await replica.admin('POST', '/v1/revocations', draft);
    if (!isApplied(revoked)) return `revoking at ${replica.name}: ${revoked.status} ${revoked.text}`;
  }
  return undefined;
}
