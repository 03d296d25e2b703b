// Signing keys as the admin port is handed them: rings by issuer block, and the revocation that makes a ban count at once.
import type { RevocationResult } from '../admin/dependencies.ts';
import { notFound } from '../admin/endpoint.ts';
import type { AdminSigningKey, SigningKeyDesk, SigningTimeline } from '../admin/key-desks.ts';
import type { SigningRing } from '../keys/signing-ring.ts';
import { activateSteps, addSteps, banSteps, retireSteps } from '../keys/signing-schedule.ts';
import type { RevocationDraft } from '../stores/contracts/revocations.ts';
import type { Current } from './generations.ts';
import type { OwnKeys } from './own-keys.ts';

/** What the desk rests on. */
export interface KeyDeskParts {
  readonly ownKeys: OwnKeys;
  readonly current: () => Current;
  readonly revoke: (draft: RevocationDraft) => Promise<RevocationResult>;
}

/** The desk. */
export function signingKeyDesk({ ownKeys, current, revoke }: KeyDeskParts): SigningKeyDesk {
  const nameOf = (issuer: string) =>
    Object.entries(current().loaded.config.issuers).find(([, block]) => block.issuer === issuer)?.[0] ?? issuer;
  const shown = (ring: SigningRing): readonly AdminSigningKey[] =>
    (ring.state?.keys ?? []).map((key) => ({ ...key, issuerName: nameOf(key.issuer) }));
  const timeline = (ring: SigningRing): SigningTimeline => ({
    issuerName: nameOf(ring.issuer),
    keys: shown(ring),
    nextStepAtMs: ring.nextStepAtMs,
  });
  const ringWith = async (kid: string): Promise<SigningRing> => {
    for (const ring of ownKeys.rings()) {
      await ring.refresh();
      if (ring.state?.keys.some((key) => key.kid === kid)) return ring;
    }
    throw notFound('no issuer of ours has such a key');
  };
  const ringNamed = (name: string | undefined): SigningRing => {
    const rings = ownKeys.rings().filter((ring) => name === undefined || nameOf(ring.issuer) === name);
    const [ring] = rings;
    if (ring === undefined) throw notFound('no issuer block has signing keys that rotate');
    if (rings.length > 1) throw notFound('several issuer blocks have signing keys; name one');
    return ring;
  };
  return {
    list: async () => {
      const rings = ownKeys.rings();
      await Promise.all(rings.map((ring) => ring.refresh()));
      return rings.flatMap(shown);
    },
    async rotate(name) {
      const ring = ringNamed(name);
      await ring.change(addSteps);
      return timeline(ring);
    },
    async activate(kid) {
      const ring = await ringWith(kid);
      await ring.change((keys, schedule, nowMs) => activateSteps(keys, kid, schedule, nowMs));
      return timeline(ring);
    },
    async retire(kid) {
      const ring = await ringWith(kid);
      await ring.change((keys, schedule, nowMs) => retireSteps(keys, kid, schedule, nowMs));
      return timeline(ring);
    },
    async ban(kid) {
      const ring = await ringWith(kid);
      // First the revocation: it counts on every replica from the next request on, whatever becomes of the rest.
      const { applied } = await revoke({
        kind: 'key',
        issuer: ring.issuer,
        id: kid,
        untilMs: 'forever',
        reason: 'key banned',
      });
      await ring.change((keys, schedule, nowMs) => banSteps(keys, kid, schedule, nowMs));
      return { ...timeline(ring), applied };
    },
  };
}
