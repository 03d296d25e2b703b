// Heartbeats: how many replicas share this Redis, for the local share of limits while Redis is away.
import type { Keyspace } from './keyspace.ts';
import type { Link } from './link.ts';
import { loadScript } from './scripts.ts';

const EVERY_MS = 5000;
const LIFETIME_MS = 15_000;

/** A beating heart. */
export interface Heartbeat extends AsyncDisposable {
  /** Live replicas, this one included; frozen at the last count while Redis is away. */
  count(): number;
  /** Beats now. */
  beat(): Promise<void>;
}

/**
 * Starts beating under `instanceId`; disposing takes this replica out of the count at once. `least` are known without asking:
 * the processes of one replica, which may lose Redis before they have seen each other's beat.
 */
export function startHeartbeat(link: Link, names: Keyspace, instanceId: string, least = 1): Heartbeat {
  const script = loadScript('heartbeat');
  let replicas = least;
  const call = async (lifetimeMs: number) =>
    Math.max(least, Number(await link.script(script, [names.replicas], [instanceId, lifetimeMs])) || 1);
  const beat = async () => {
    try {
      replicas = await call(LIFETIME_MS);
    } catch {
      // Frozen at the last count on purpose: a replica that cannot see Redis must not take the whole limit.
    }
  };
  const timer = setInterval(beat, EVERY_MS).unref();
  let ended = false;
  link.onReady(() => void (ended || beat()));
  return {
    count: () => replicas,
    beat,
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      ended = true;
      if (link.ready) await call(0).catch(() => undefined);
    },
  };
}
