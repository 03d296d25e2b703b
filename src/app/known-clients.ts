// How client records reach this replica and leave it: a replica with PostgreSQL reads them there, tells the others through
// signed documents and the revocation log; one that trusts a publishing key reads the documents. Redis only carries them.
import { ClientAnnouncer } from '../clients/announcer.ts';
import { documentOf, noticeName, readNotice } from '../clients/notices.ts';
import type { LoadedConfig } from '../config/loaded.ts';
import type { Clock } from '../core/clock.ts';
import { SidecarError } from '../core/errors.ts';
import { type Publication, type PublicationReader, publicationReader } from '../keys/publications.ts';
import type { KnownClients } from '../limits/clients.ts';
import type { RevocationIndex } from '../revocation/index.ts';
import type { ClientNotice, ClientStore } from '../stores/contracts/clients.ts';
import type { PublishedStore } from '../stores/contracts/published.ts';
import type { RevocationDraft, RevocationGuard } from '../stores/contracts/revocations.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { writerOf } from './publication-writer.ts';
import type { Siblings } from './siblings.ts';

/** What it is opened with. */
export interface ClientParts {
  readonly known: KnownClients;
  readonly published: PublishedStore;
  readonly loaded: LoadedConfig;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** What announcing needs beyond it. */
export interface AnnouncingParts extends ClientParts {
  readonly store: ClientStore;
  readonly index: RevocationIndex;
  readonly revoker: {
    revoke(draft: RevocationDraft, guard: RevocationGuard): Promise<{ readonly applied: 'all' | 'pending' }>;
    undo(entryId: string): Promise<boolean>;
  };
  readonly ownLifetimeMs: (issuer: string) => number | undefined;
  /** The other processes of this replica, which hear of changes too; undefined without. */
  readonly siblings: Siblings | undefined;
}

const POLL_MS = 1000;
/** How far back a reading goes: clocks of replicas, and transactions that commit late. */
const OVERLAP_MS = 30_000;
const PAGE = 1000;
const REREAD_MS = 60_000;
const REPUBLISH_MS = 6 * 3_600_000;
const MARKER = 'all';

/** Starts telling others; ends with the announcer. */
export function openAnnouncer(parts: AnnouncingParts): ClientAnnouncer & AsyncDisposable {
  const { store, known, clock, log, published, index, revoker, loaded, ownLifetimeMs, siblings, metrics } = parts;
  const write = writerOf({ loaded, store: published, clock, log, metrics });
  const publish =
    write &&
    ((notice: ClientNotice) =>
      write({ kind: 'client', name: noticeName(notice), seq: notice.version, document: documentOf(notice) }));
  return new ClientAnnouncer({
    store,
    clock,
    apply: (notice) => {
      known.put(notice);
      return siblings?.notice(notice);
    },
    publish,
    revocations: {
      entryOf: (issuer, clientId) => index.get('client', issuer, clientId),
      revoke: (draft, guard) => revoker.revoke(draft, guard),
      undo: (entryId) => revoker.undo(entryId),
    },
    ownLifetimeMs,
    onFailure: (problem) => log.warn({ problem }, 'clients_not_told'),
  });
}

/** Keeps all documents in the store: told anew where they are gone, and before they expire. */
export class ClientRepublisher implements AsyncDisposable {
  readonly #parts: ClientParts & { readonly announcer: ClientAnnouncer };
  readonly #timer: NodeJS.Timeout;
  #lastMs = Number.NEGATIVE_INFINITY;
  #running: Promise<void> | undefined;

  constructor(parts: ClientParts & { readonly announcer: ClientAnnouncer }) {
    this.#parts = parts;
    this.#timer = setInterval(() => void this.check(), POLL_MS).unref();
  }

  /** One look. Never rejects: what is away is told when it is back. */
  check(): Promise<void> {
    this.#running ??= this.#checkOnce()
      .catch((error: unknown) => {
        if (!isAway(error)) throw error;
      })
      .finally(() => {
        this.#running = undefined;
      });
    return this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#running;
  }

  async #checkOnce(): Promise<void> {
    const { published, announcer, clock } = this.#parts;
    const nowMs = clock.nowMs();
    // The marker goes with everything else when Redis is flushed; it stands for nothing but itself.
    const marked = (await published.get('client', MARKER)) !== undefined;
    if (marked && clock.monotonicMs() - this.#lastMs < REPUBLISH_MS) return;
    await announcer.publishAll();
    await published.put('client', MARKER, nowMs, String(nowMs));
    this.#lastMs = clock.monotonicMs();
  }
}

type StoredParts = Pick<AnnouncingParts, 'store' | 'known' | 'published' | 'clock' | 'log'>;

/** Reads the records of a replica that has PostgreSQL: every second, and whenever another replica published one. */
export class StoredClients implements AsyncDisposable {
  readonly #parts: StoredParts;
  readonly #timer: NodeJS.Timeout;
  #reading: Promise<void> | undefined;
  #watch: AsyncDisposable | undefined;
  /** Undefined until all were read once. */
  #readToMs: number | undefined;

  constructor(parts: StoredParts) {
    this.#parts = parts;
    this.#timer = setInterval(() => void this.read(), POLL_MS).unref();
  }

  /** Reads everything and follows changes; with PostgreSQL away it resolves all the same, and reads when it is back. */
  async start(): Promise<void> {
    await this.read();
    this.#watch = await this.#parts.published.watch((notice) => {
      // A reading under way may have looked before the change: another one after it.
      if (notice?.kind === 'client') void (this.#reading ?? Promise.resolve()).then(() => this.read());
    });
  }

  /** Reads what changed since the last time, everything at first. Never rejects: what is known stays. */
  read(): Promise<void> {
    this.#reading ??= this.#readOnce()
      .catch((error: unknown) => {
        if (!isAway(error)) this.#parts.log.error({ err: error }, 'clients_not_read');
      })
      .finally(() => {
        this.#reading = undefined;
      });
    return this.#reading;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#watch?.[Symbol.asyncDispose]();
    await this.#reading;
  }

  async #readOnce(): Promise<void> {
    const { store, known, clock } = this.#parts;
    const startedMs = clock.nowMs();
    const recent =
      this.#readToMs === undefined ? undefined : await store.changedSince(this.#readToMs - OVERLAP_MS, PAGE);
    if (recent !== undefined && recent.length < PAGE) for (const notice of recent) known.put(notice);
    else await this.#readAll();
    this.#readToMs = startedMs;
  }

  async #readAll(): Promise<void> {
    const { store, known } = this.#parts;
    for (let after: ClientNotice | undefined; ; ) {
      const page = await store.notices(after, PAGE);
      for (const notice of page) known.put(notice);
      after = page.at(-1);
      if (page.length < PAGE) return;
    }
  }
}

/** Reads the records that a control plane published, on a replica that trusts its publishing key. */
export class PublishedClients implements AsyncDisposable {
  readonly #parts: ClientParts;
  readonly #read: PublicationReader;
  readonly #timer: NodeJS.Timeout;
  /** By name: what was believed, and the text it came as, so that the same text is not verified again. */
  readonly #held = new Map<string, { readonly publication: Publication; readonly jws: string }>();
  #all: Promise<void> | undefined;
  #watch: AsyncDisposable | undefined;

  constructor(parts: ClientParts, pems: readonly string[]) {
    this.#parts = parts;
    this.#read = publicationReader(pems, parts.clock);
    this.#timer = setInterval(() => this.#readAll(), REREAD_MS).unref();
  }

  /** Follows changes; resolves once all were read, or at once with Redis away. */
  async start(): Promise<void> {
    this.#watch = await this.#parts.published.watch((notice) => {
      if (notice === undefined) this.#readAll();
      else if (notice.kind === 'client') void this.#readOne(notice.name);
    });
    this.#readAll();
    await this.#all;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#watch?.[Symbol.asyncDispose]();
    await this.#all;
  }

  async #readOne(name: string): Promise<void> {
    try {
      const jws = await this.#parts.published.get('client', name);
      if (jws !== undefined) await this.#take(name, jws);
    } catch (error) {
      if (!isAway(error)) throw error;
    }
  }

  #readAll(): void {
    this.#all ??= this.#readPages()
      .catch((error: unknown) => {
        if (!isAway(error)) throw error;
      })
      .finally(() => {
        this.#all = undefined;
      });
  }

  async #readPages(): Promise<void> {
    for (let cursor: string | undefined = ''; cursor !== undefined; ) {
      const page = await this.#parts.published.page('client', cursor);
      for (const [name, jws] of page.documents) await this.#take(name, jws);
      cursor = page.next;
    }
  }

  async #take(name: string, jws: string): Promise<void> {
    const held = this.#held.get(name);
    if (name === MARKER || held?.jws === jws) return;
    const { log, metrics, known } = this.#parts;
    const read = await this.#read(jws, { kind: 'client', name }, held?.publication);
    const notice = typeof read === 'string' ? undefined : readNotice(read.document);
    const fits = notice !== undefined && noticeName(notice) === name;
    if (typeof read === 'string' || !fits) {
      const problem = typeof read === 'string' ? read : 'malformed';
      metrics.publicationsRefused.labels('client', problem).inc();
      log.error({ client: name, problem }, 'publication_refused');
      return;
    }
    // A slower reading must not bring an older one back.
    if ((this.#held.get(name)?.publication.seq ?? 0) > read.seq) return;
    this.#held.set(name, { publication: read, jws });
    known.put(notice);
  }
}

const isAway = (error: unknown) => error instanceof SidecarError && error.kind === 'store_unavailable';
