// Published documents in memory: the readable reference.
import type { PublicationKind, PublicationNotice, PublicationPage, PublishedStore } from '../contracts/published.ts';

/** {@link PublishedStore} in memory. */
export class MemoryPublished implements PublishedStore {
  readonly #documents = new Map<string, { readonly seq: number; readonly document: string }>();
  readonly #watchers = new Set<(notice: PublicationNotice | undefined) => void>();

  async put(kind: PublicationKind, name: string, seq: number, document: string, over?: string): Promise<boolean> {
    const key = `${kind} ${name}`;
    const held = this.#documents.get(key);
    if (held !== undefined && held.seq > seq && held.document !== over) return false;
    this.#documents.set(key, { seq, document });
    for (const watcher of this.#watchers) watcher({ kind, name });
    return true;
  }

  async get(kind: PublicationKind, name: string): Promise<string | undefined> {
    return this.#documents.get(`${kind} ${name}`)?.document;
  }

  async page(kind: PublicationKind, _cursor: string): Promise<PublicationPage> {
    const own = [...this.#documents].filter(([key]) => key.startsWith(`${kind} `));
    return { documents: new Map(own.map(([key, { document }]) => [key.slice(kind.length + 1), document])) };
  }

  async watch(onNotice: (notice: PublicationNotice | undefined) => void): Promise<AsyncDisposable> {
    this.#watchers.add(onNotice);
    onNotice(undefined);
    return { [Symbol.asyncDispose]: async () => void this.#watchers.delete(onNotice) };
  }
}
