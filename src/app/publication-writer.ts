// Writes the control plane's documents to where replicas read them. Who can write to Redis can put a high number before anything,
// so that what we publish would seem older; what is there is then read, and gives way unless the control plane signed it.
import { createPublicKey } from 'node:crypto';
import type { LoadedConfig } from '../config/loaded.ts';
import type { Clock } from '../core/clock.ts';
import { type Publication, publicationReader, publisher } from '../keys/publications.ts';
import type { PublishedStore } from '../stores/contracts/published.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';

/** What it needs. */
export interface WriterParts {
  readonly loaded: LoadedConfig;
  readonly store: PublishedStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** What is to be published. */
export type Published = Pick<Publication, 'kind' | 'name' | 'seq' | 'document'>;

/** Signs and stores a document. Rejects with `store_unavailable`. */
export type PublicationWriter = (what: Published) => Promise<void>;

/** Public halves of the publishing keys that the configuration trusts. */
export function trustedKeys({ config, secrets }: LoadedConfig): readonly string[] {
  const { public_key: publicKey, previous_public_key: previous } = config.control_plane ?? {};
  return [publicKey, previous].flatMap((reference) => (reference === undefined ? [] : [secrets.get(reference)]));
}

/** The writer of a control plane; undefined without `control_plane.signing_key`. */
export function writerOf(parts: WriterParts): PublicationWriter | undefined {
  const { loaded, store, clock } = parts;
  const reference = loaded.config.control_plane?.signing_key;
  if (reference === undefined) return undefined;
  const signingKey = loaded.secrets.get(reference);
  const sign = publisher(signingKey, clock);
  const ours = createPublicKey(signingKey).export({ format: 'pem', type: 'spki' }) as string;
  const read = publicationReader([ours, ...trustedKeys(loaded)], clock);
  return async (what) => {
    const { kind, name, seq } = what;
    const jws = await sign(what);
    if (await store.put(kind, name, seq, jws)) return;
    const held = await store.get(kind, name);
    const found = held === undefined ? undefined : await read(held, { kind, name }, undefined);
    if (found !== undefined && typeof found !== 'string' && found.seq > seq) return outranked(parts, what, found.seq);
    tell(parts, what, typeof found === 'string' ? found : 'replayed');
    await store.put(kind, name, seq, jws, held);
  };
}

/** Another replica was faster; or PostgreSQL was set back, and the next change heals that. */
function outranked({ log }: WriterParts, { kind, name, seq }: Published, by: number): void {
  log.warn({ kind, name, seq, by }, 'publication_outranked');
}

function tell({ log, metrics }: WriterParts, { kind, name }: Published, problem: string): void {
  metrics.publicationsRefused.labels(kind, problem).inc();
  log.error({ kind, name, problem }, 'publication_replaced');
}
