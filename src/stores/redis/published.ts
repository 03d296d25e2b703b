// Published documents in Redis: one hash per kind, field by name, `seq document` inside; notices on a channel of their own.
import type { Redis } from 'ioredis';
import { parseStrictObject } from '../../core/strict-json.ts';
import type { PublicationKind, PublicationNotice, PublicationPage, PublishedStore } from '../contracts/published.ts';
import { badReply } from './errors.ts';
import type { Keyspace } from './keyspace.ts';
import type { Link } from './link.ts';
import { loadScript } from './scripts.ts';

const publish = loadScript('publish');
/** Fields that one HSCAN looks at: a few hundred KiB. */
const PAGE = 500;

const documentOf = (held: string) => held.slice(held.indexOf(' ') + 1);

/** {@link PublishedStore} over Redis. */
export class RedisPublished implements PublishedStore {
  readonly #link: Link;
  readonly #names: Keyspace;
  readonly #subscribe: () => Redis;

  /** `link` for commands; `subscribe` opens a connection for notices, which is closed with the watch. */
  constructor(link: Link, names: Keyspace, subscribe: () => Redis) {
    this.#link = link;
    this.#names = names;
    this.#subscribe = subscribe;
  }

  async put(kind: PublicationKind, name: string, seq: number, document: string, over?: string): Promise<boolean> {
    const { publishedChannel: channel } = this.#names;
    const notice = JSON.stringify({ kind, name });
    const args = [name, seq, document, channel, notice, ...(over === undefined ? [] : [over])];
    return (await this.#link.script(publish, [this.#names.published(kind)], args)) === 1;
  }

  async get(kind: PublicationKind, name: string): Promise<string | undefined> {
    const held = await this.#link.command('hget', this.#names.published(kind), name);
    return typeof held === 'string' ? documentOf(held) : undefined;
  }

  async page(kind: PublicationKind, cursor: string): Promise<PublicationPage> {
    const from = cursor === '' ? '0' : cursor;
    const reply = await this.#link.command('hscan', this.#names.published(kind), from, 'COUNT', PAGE);
    const [next, flat] = Array.isArray(reply) ? (reply as unknown[]) : [];
    if (typeof next !== 'string' || !Array.isArray(flat)) throw badReply('hscan');
    const documents = new Map<string, string>();
    for (let at = 0; at < flat.length; at += 2) documents.set(flat[at] as string, documentOf(flat[at + 1] as string));
    return next === '0' ? { documents } : { documents, next };
  }

  async watch(onNotice: (notice: PublicationNotice | undefined) => void): Promise<AsyncDisposable> {
    const redis = this.#subscribe();
    const onReady = async () => {
      try {
        await redis.subscribe(this.#names.publishedChannel);
        onNotice(undefined);
      } catch {
        // Dropped again, and the next `ready` tries anew; or it does not answer, and has to be made anew.
        if (redis.status === 'ready') redis.disconnect(true);
      }
    };
    redis.on('ready', () => void onReady());
    redis.on('message', (_channel: string, text: string) => {
      const notice = parseStrictObject(Buffer.from(text));
      if (typeof notice?.name === 'string' && (notice.kind === 'keys' || notice.kind === 'client')) {
        onNotice({ kind: notice.kind, name: notice.name });
      }
    });
    return { [Symbol.asyncDispose]: async () => redis.disconnect() };
  }
}
