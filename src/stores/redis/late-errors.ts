// Errors that ioredis leaves without a listener, each of which Node would call uncaught: the second error of a connection, and
// the answer of a subscription that ioredis renews by itself.
import type { Duplex } from 'node:stream';
import type { Redis } from 'ioredis';

/** What is used of a connection that ioredis keeps to itself. */
interface Inside {
  connector: { connect(...given: unknown[]): Promise<Duplex> };
  subscribe(...given: unknown[]): Promise<unknown>;
}

/** Gives them one. `redis` is `lazyConnect`: on a connection that has been dialled already it comes too late. */
export function hearLateErrors(redis: Redis): Redis {
  const inside = redis as unknown as Inside;
  const dial = inside.connector.connect.bind(inside.connector);
  // TLS that has been given up for its certificate may still read the peer's alert, and says so after ioredis heard the first error.
  inside.connector.connect = async (...given) => (await dial(...given)).on('error', () => undefined);
  const subscribe = inside.subscribe.bind(redis);
  // A renewed subscription to a Sentinel that stalls times out, and nobody awaits it. Who does await one is told as before.
  inside.subscribe = (...given) => {
    const subscribed = subscribe(...given);
    subscribed.catch(() => undefined);
    return subscribed;
  };
  return redis;
}
