// Notices on a connection of their own. Best effort: after every (re)connect the head is announced once more, because what
// was published meanwhile is gone.
import type { Redis } from 'ioredis';
import type { RevocationHead, StoreNotice } from '../contracts/revocations.ts';
import { becomesReady } from './connection.ts';
import { redisCode } from './errors.ts';
import { parseHead } from './head.ts';
import type { Keyspace } from './keyspace.ts';

const FIRST_SUBSCRIBE_MS = 1000;

/** A running subscription. */
export type Notices = AsyncDisposable;

/** Undefined for what no release of ours publishes, so that a newer release may add notices. */
export function parseNotice(text: string): StoreNotice | undefined {
  const [type, rest = ''] = text.split(' ', 2);
  if (type === 'limit_reset') return { type, key: rest };
  const head: RevocationHead | undefined = type === 'revocations' ? parseHead(rest) : undefined;
  return head && { type: 'revocations', head };
}

/** Subscribes, and resolves once subscribed, or after a second when Redis is away (it goes on trying). */
export async function watchNotices(
  redis: Redis,
  names: Keyspace,
  readHead: () => Promise<RevocationHead | undefined>,
  onNotice: (notice: StoreNotice) => void,
): Promise<Notices> {
  const first = Promise.withResolvers<void>();
  const onReady = async () => {
    try {
      await redis.subscribe(names.channel);
      first.resolve();
      const head = await readHead();
      if (head) onNotice({ type: 'revocations', head });
    } catch (error) {
      // The connection dropped again, and the next `ready` tries anew; or it did not answer, and has to be made anew.
      if (redisCode(error) === '' && redis.status === 'ready') redis.disconnect(true);
    }
  };
  const onMessage = (_channel: string, text: string) => {
    const notice = parseNotice(text);
    if (notice) onNotice(notice);
  };
  redis.on('ready', onReady);
  redis.on('message', onMessage);
  if (redis.status === 'ready') void onReady();
  if (await becomesReady(redis, FIRST_SUBSCRIBE_MS)) {
    const timer = setTimeout(first.resolve, FIRST_SUBSCRIBE_MS);
    await first.promise;
    clearTimeout(timer);
  }
  return { [Symbol.asyncDispose]: async () => redis.disconnect() };
}
