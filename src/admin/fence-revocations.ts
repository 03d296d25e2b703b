// Revocations for an operator of one tenant: only entries that can refuse nobody else. A subject or session may have tokens of
// other tenants that no row tells of, and rows that name them are the operator's own to make, so neither can be revoked as such;
// /v1/grants/end ends their grants within the tenant one by one.
import { followsFromDisabling, recordReasons } from '../clients/announcer.ts';
import { storeUnavailable } from '../core/errors.ts';
import {
  guarded,
  type RevocationDraft,
  type RevocationEntry,
  type RevocationGuard,
  type RevocationKind,
} from '../stores/contracts/revocations.ts';
import { clientDeskOf } from './client-lookup.ts';
import type { AdminDependencies, RevocationDesk, RevocationQuery } from './dependencies.ts';
import { type TenantProofs, tokenKey } from './fence-tokens.ts';
import { tenantExceeded } from './tenant.ts';

/** Rows asked for at once. */
const CHUNK = 1000;
/** Kinds of which an entry can be the tenant's alone. */
const OWN_KINDS: readonly RevocationKind[] = ['tenant', 'client', 'family'];

/** The revocation desk of one tenant. */
export function fencedRevocations(whole: AdminDependencies, tenant: string, proofs: TenantProofs): RevocationDesk {
  const { revocations } = whole;
  const requireOwn = async (draft: RevocationDraft) => {
    const [own] = await ownAmong(whole, tenant, proofs, [draft]);
    const isShown = draft.kind === 'token' && proofs.shownTokens.has(tokenKey(draft.issuer, draft.id));
    if (own === undefined && !isShown) throw tenantExceeded('only what is provably of the tenant alone can be revoked');
    // Without knowing what stands there, this could let in again what somebody mightier has shut out.
    if (!revocations.isKnown()) throw storeUnavailable('revocations are not known yet');
  };
  return {
    async permit(draft, guard) {
      await requireOwn(draft);
      return revocations.permit(draft, unlessMightier(guard));
    },
    async revoke(draft, guard) {
      await requireOwn(draft);
      return revocations.revoke(draft, unlessMightier(guard));
    },
    undo: () => Promise.reject(tenantExceeded()),
    list: (query) =>
      listOwn(
        query,
        (given) => revocations.list(given),
        (found) => ownAmong(whole, tenant, proofs, found),
      ),
    async find(entryId) {
      const entry = await revocations.find(entryId);
      return entry && (await ownAmong(whole, tenant, proofs, [entry]))[0];
    },
    refuses: (principal) => revocations.refuses(principal),
    isKnown: () => revocations.isKnown(),
    wouldRefuse: (draft, principal) => proofs.isOwn(principal) && revocations.wouldRefuse(draft, principal),
  };
}

/** A page of what is the tenant's own: pages of all that may be are read until it is full. */
async function listOwn(
  query: RevocationQuery,
  list: RevocationDesk['list'],
  own: (found: readonly RevocationEntry[]) => Promise<readonly RevocationEntry[]>,
): Promise<readonly RevocationEntry[]> {
  const kinds = OWN_KINDS.filter((kind) => query.kinds?.includes(kind) ?? true);
  const page: RevocationEntry[] = [];
  for (let { after } = query; kinds.length > 0; ) {
    const found = await list({ kinds, after, limit: CHUNK });
    page.push(...(await own(found)));
    const last = found.at(-1);
    if (page.length >= query.limit || found.length < CHUNK || last === undefined) break;
    after = { atMs: last.revokedAtMs, id: last.entryId };
  }
  return page.slice(0, query.limit);
}

/** Those that reach nobody but the tenant, as its name or a row of PostgreSQL proves; in their order. */
async function ownAmong<T extends Pick<RevocationDraft, 'kind' | 'issuer' | 'id'>>(
  whole: AdminDependencies,
  tenant: string,
  { isOurs }: TenantProofs,
  entries: readonly T[],
): Promise<readonly T[]> {
  const clients = entries.filter(({ kind }) => kind === 'client');
  const families = entries.filter(({ kind, issuer }) => kind === 'family' && isOurs(issuer));
  const store = clientDeskOf(whole).within(tenant);
  const own = new Set<T>(
    entries.filter(({ kind, issuer, id }) => kind === 'tenant' && id === tenant && isOurs(issuer)),
  );
  await eachChunk(clients, async (chunk) => {
    const keys = chunk.map(({ issuer, id: clientId }) => ({ issuer, clientId }));
    const found = new Set((await store.owned(keys)).map(({ issuer, clientId }) => tokenKey(issuer, clientId)));
    for (const entry of chunk) if (found.has(tokenKey(entry.issuer, entry.id))) own.add(entry);
  });
  await eachChunk(families, async (chunk) => {
    const ids = chunk.map(({ id }) => id);
    const found = new Set(await whole.ownedFamilies?.(tenant, ids));
    for (const entry of chunk) if (found.has(entry.id)) own.add(entry);
  });
  return entries.filter((entry) => own.has(entry));
}

async function eachChunk<T>(all: readonly T[], work: (chunk: readonly T[]) => Promise<void>): Promise<void> {
  for (let at = 0; at < all.length; at += CHUNK) await work(all.slice(at, at + CHUNK));
}

/** As `guard`, but refuses what would take the place of something stronger, or of an operator's word. */
const unlessMightier =
  (guard: RevocationGuard | undefined): RevocationGuard =>
  (draft, held) => {
    const kept = guarded(draft, held, guard);
    // Enabling the client, which this operator may do, would leave less of what stood for itself.
    const takesOver =
      kept.kind === 'client' && kept.reason === recordReasons.disabledOver && !followsFromDisabling(held);
    if (takesOver || isWeaker(kept, held)) throw tenantExceeded('a stronger revocation is in force');
    return kept;
  };

/** True when the draft, which takes the place of what is held, would refuse less or for less long. */
function isWeaker(draft: RevocationDraft, held: RevocationEntry): boolean {
  const ends = (ms: number | 'forever') => (ms === 'forever' ? Number.POSITIVE_INFINITY : ms);
  const cuts = (ms: number | undefined) => ms ?? Number.POSITIVE_INFINITY;
  return ends(draft.untilMs) < ends(held.untilMs) || cuts(draft.notBeforeMs) < cuts(held.notBeforeMs);
}
