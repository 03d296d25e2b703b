// Opens both ends of published documents as the configuration asks for them: a publisher where there is PostgreSQL and a
// signing key, a reader where a public key is trusted.
import type { LoadedConfig } from '../config/loaded.ts';
import type { Clock } from '../core/clock.ts';
import { publicationReader } from '../keys/publications.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { ControlPlane } from './control-plane.ts';
import { trustedKeys, writerOf } from './publication-writer.ts';
import { PublishedKeys, publishKeys } from './published-keys.ts';
import type { Stores } from './stores.ts';

/** What it is opened with. */
export interface PublishingParts {
  readonly loaded: LoadedConfig;
  readonly stores: Stores;
  readonly controlPlane: ControlPlane | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Opens them; Redis need not be there. Everything opened ends with `closing`. */
export async function openPublishing(
  parts: PublishingParts,
  closing: AsyncDisposableStack,
): Promise<PublishedKeys | undefined> {
  const { loaded, stores, controlPlane, clock, log, metrics } = parts;
  const store = stores.backend.published;
  const write = writerOf({ loaded, store, clock, log, metrics });
  if (controlPlane !== undefined && write !== undefined) {
    closing.use(publishKeys({ ownKeys: controlPlane.ownKeys, write, clock, log }));
  }
  if (loaded.config.control_plane?.public_key === undefined) return undefined;
  const pems = trustedKeys(loaded);
  const published = closing.use(
    new PublishedKeys({ store, read: publicationReader(pems, clock), clock, log, metrics }),
  );
  await published.start();
  return published;
}
