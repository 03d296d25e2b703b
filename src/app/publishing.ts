// Opens both ends of published documents as the configuration asks for them: a publisher where there is PostgreSQL and a
// signing key, a reader where a public key is trusted.
import type { LoadedConfig } from '../config/loaded.ts';
import type { Clock } from '../core/clock.ts';
import { publicationReader, publisher } from '../keys/publications.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { ControlPlane } from './control-plane.ts';
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
  const {
    signing_key: signingKey,
    public_key: publicKey,
    previous_public_key: previous,
  } = loaded.config.control_plane ?? {};
  const store = stores.backend.published;
  if (controlPlane !== undefined && signingKey !== undefined) {
    const sign = publisher(loaded.secrets.get(signingKey), clock);
    closing.use(publishKeys({ ownKeys: controlPlane.ownKeys, store, sign, clock, log }));
  }
  if (publicKey === undefined) return undefined;
  const pems = [publicKey, previous]
    .filter((reference) => reference !== undefined)
    .map((one) => loaded.secrets.get(one));
  const published = closing.use(
    new PublishedKeys({ store, read: publicationReader(pems, clock), clock, log, metrics }),
  );
  await published.start();
  return published;
}
