// Opens both ends of client records as the configuration asks for them: where PostgreSQL is, they are read and announced;
// where a publishing key is trusted, what was published is read.
import type { ClientDesk } from '../admin/dependencies.ts';
import type { ClientAnnouncer } from '../clients/announcer.ts';
import type { KnownNames } from '../clients/properties.ts';
import type { SidecarConfig } from '../config/schema.ts';
import type { ControlPlane } from './control-plane.ts';
import {
  type AnnouncingParts,
  type ClientParts,
  ClientRepublisher,
  openAnnouncer,
  PublishedClients,
  StoredClients,
} from './known-clients.ts';

/** What it is opened with. */
export interface OpenClientsParts extends ClientParts, Pick<AnnouncingParts, 'index' | 'siblings'> {
  readonly controlPlane: ControlPlane | undefined;
  /** The durable one; undefined without PostgreSQL. */
  readonly revoker: AnnouncingParts['revoker'] | undefined;
  /** The configuration in force. */
  readonly config: () => SidecarConfig;
}

/** Opens them, and reads what can be read; no store need be there. Everything opened ends with `closing`. */
export async function openClients(
  parts: OpenClientsParts,
  closing: AsyncDisposableStack,
): Promise<ClientAnnouncer | undefined> {
  const { controlPlane, revoker, loaded, config } = parts;
  const { public_key: publicKey, previous_public_key: previous, signing_key } = loaded.config.control_plane ?? {};
  if (publicKey !== undefined) {
    const pems = [publicKey, previous].filter((reference) => reference !== undefined);
    const published = closing.use(
      new PublishedClients(
        parts,
        pems.map((reference) => loaded.secrets.get(reference)),
      ),
    );
    await published.start();
  }
  if (controlPlane === undefined || revoker === undefined) return undefined;
  const store = controlPlane.clients;
  const stored = closing.use(new StoredClients({ ...parts, store }));
  await stored.start();
  controlPlane.postgres.onReady(() => void stored.read());
  const ownLifetimeMs = (issuer: string) => lifetimeOf(config(), issuer);
  const announcer = closing.use(openAnnouncer({ ...parts, store, revoker, ownLifetimeMs }));
  if (signing_key !== undefined) closing.use(new ClientRepublisher({ ...parts, announcer }));
  return announcer;
}

/** How long a token of an issuer of ours can be accepted; undefined for others. */
function lifetimeOf({ issuers }: SidecarConfig, issuer: string): number | undefined {
  const own = Object.values(issuers).filter((block) => block.issuer === issuer && block.sign !== undefined);
  if (own.length === 0) return undefined;
  return Math.max(...own.map((block) => block.max_lifetime + block.clock_tolerance));
}

/** What the admin port works with; undefined without PostgreSQL. */
export function clientDesk(
  controlPlane: ControlPlane | undefined,
  announcer: ClientAnnouncer | undefined,
  config: () => SidecarConfig,
): ClientDesk | undefined {
  if (controlPlane === undefined || announcer === undefined) return undefined;
  return {
    store: controlPlane.clients,
    within: (tenant) => controlPlane.clients.within(tenant),
    initialTokens: controlPlane.initialTokens,
    announce: (notice) => announcer.announce(notice),
    known: () => knownNames(config()),
  };
}

/** Names of tiers and limits, for judging clients. */
export function knownNames({ tiers, default_tier, limits }: SidecarConfig): KnownNames {
  const limitTiers = Object.values(limits).flatMap((limit) => Object.keys(limit.tiers ?? {}));
  return { tiers, default_tier, limitTiers: [...new Set(limitTiers)], limits: Object.keys(limits) };
}
