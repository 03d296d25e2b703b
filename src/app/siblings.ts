// Several processes of one replica: what one of them has put in force without the shared store knowing holds in the others
// too, or an answer that says "in force here" would be true of one process in N only.
import type { RevokeAnswer } from '../revocation/follower-options.ts';
import type { ClientNotice } from '../stores/contracts/clients.ts';
import type { RevocationDraft, RevocationEntry, RevocationGuard } from '../stores/contracts/revocations.ts';

/** The other processes, as each of them sees them. Nothing here rejects for one that has gone. */
export interface Siblings {
  /** Revocations that the shared log does not have yet; resolves once they hold wherever a process serves. */
  hold(entries: readonly RevocationEntry[]): Promise<void>;
  /** One of them is taken back. */
  withdraw(entryId: string): Promise<void>;
  /** The record of a client changed. */
  notice(notice: ClientNotice): Promise<void>;
}

/** Revokes and takes back, for the whole replica; `guard` is asked about what a durable store remembers, where there is one. */
export interface Revoker {
  revoke(draft: RevocationDraft, guard?: RevocationGuard): Promise<RevokeAnswer>;
  undo(entryId: string): Promise<boolean>;
}

/** A revoker whose pending entries hold in all processes. */
export function amongSiblings(revoker: Revoker, siblings: Siblings): Revoker {
  return {
    async revoke(draft, guard) {
      const answer = await revoker.revoke(draft, guard);
      if (answer.applied === 'pending') await siblings.hold([answer.entry]);
      return answer;
    },
    async undo(entryId) {
      const undone = await revoker.undo(entryId);
      // Also where the log took it back: a sibling may hold it still, and may not have heard of the log yet.
      if (undone) await siblings.withdraw(entryId);
      return undone;
    },
  };
}
