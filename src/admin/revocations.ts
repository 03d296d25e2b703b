// Revoking and taking back, for operators. The log and its index are revocation/; what an entry means is written in
// stores/contracts/revocations.ts.
import { z } from 'zod';
import { followsFromDisabling, recordReasons, refusesAll } from '../clients/announcer.ts';
import { SidecarError } from '../core/errors.ts';
import { revocationEntryId } from '../stores/contracts/entry-id.ts';
import {
  type RevocationDraft,
  type RevocationEntry,
  type RevocationGuard,
  revocationKinds,
} from '../stores/contracts/revocations.ts';
import type { AdminDependencies } from './dependencies.ts';
import { type AdminAnswer, endpoint, notFound, validated } from './endpoint.ts';
import { readLeakedToken } from './leaked-token.ts';
import { pageFrom, pageQuery } from './pages.ts';
import { draftOf, namedRevocation, tokenRevocation } from './revocation-draft.ts';
import { applied, count, pageShape, reason, time } from './shapes.ts';

const until = z.union([z.literal('forever'), time]);

const shownRevocation = z.strictObject({
  id: z.string(),
  kind: z.enum(revocationKinds),
  issuer: z.string(),
  /** Of kind `token`; `revoked_id` of all others. */
  jti: z.string().optional(),
  revoked_id: z.string().optional(),
  reason: z.string(),
  revoked_at: time,
  until,
  not_before: time.optional(),
  /** True until the other replicas were told. */
  pending: z.boolean(),
});

/** POST /v1/revocations: 201 with `{id, until, applied}`; 200 for a dry run, and for a token that nobody accepts. */
export const revoke = endpoint({
  method: 'POST',
  path: '/v1/revocations',
  permission: 'revocations:write',
  reach: 'tenant',
  event: 'revocation.added',
  // One of two forms, told apart by `token`, so that a mistake is answered in the words of the form that was meant.
  body: z.record(z.string(), z.unknown()),
  bodyForms: z.union([namedRevocation, tokenRevocation]),
  answers: {
    201: z.strictObject({ id: z.string(), until, applied }),
    200: z.union([
      z.strictObject({ id: z.string(), until, dry_run: z.literal(true), would_refuse: count }),
      z.strictObject({ id: z.null(), until: z.null(), applied: z.literal('all'), harmless: reason }),
    ]),
  },
  summary: 'Revoke by kind and id, or by the leaked token itself.',
  handler: async (dependencies, { body }) => {
    const { clock, tokens } = dependencies;
    if (!Object.hasOwn(body, 'token')) {
      const named = validated(namedRevocation, body) as z.output<typeof namedRevocation>;
      const draft = draftOf(named, tokens.issuers(), clock.nowMs());
      const guard = besideDisabled(await isDisabled(draft, dependencies));
      return named.dry_run ? dryRun(dependencies, draft, guard) : apply(dependencies, draft, guard);
    }
    const leaked = validated(tokenRevocation, body) as z.output<typeof tokenRevocation>;
    const read = await readLeakedToken(leaked.token, tokens, leaked.reason, clock.nowMs());
    if ('harmless' in read) {
      const answer = { id: null, until: null, applied: 'all', harmless: read.harmless };
      return { status: 200, body: answer, audit: { kind: 'token', harmless: read.harmless } };
    }
    const act = leaked.dry_run ? dryRun : apply;
    return act(dependencies, read.draft, noShorter);
  },
});

async function isDisabled({ kind, issuer, id }: RevocationDraft, { clients }: AdminDependencies): Promise<boolean> {
  return kind === 'client' && (await clients?.store.get(issuer, id))?.disabled === true;
}

/** There is one entry per client: revoking one that is disabled must not end what disabling it refuses. */
const besideDisabled =
  (clientIsDisabled: boolean): RevocationGuard =>
  (draft, held) => {
    if (draft.kind !== 'client' || refusesAll(draft) || !refusesAll(held)) return draft;
    // An operator's stands for both where the client is disabled.
    if (!followsFromDisabling(held) && !clientIsDisabled) return draft;
    const { notBeforeMs: _, ...named } = draft;
    return { ...named, untilMs: 'forever', reason: recordReasons.disabledOver };
  };

/** What somebody said of an id by name stands, whatever a token says that bears it. */
const noShorter: RevocationGuard = (draft, held) => {
  if (draft.untilMs === 'forever' || held.untilMs === 'forever') return draft;
  return { ...draft, untilMs: Math.max(draft.untilMs, held.untilMs) };
};

/** The audit log says the reason as the operator gave it. */
async function apply(
  { revocations, metrics }: AdminDependencies,
  draft: RevocationDraft,
  guard: RevocationGuard,
): Promise<AdminAnswer> {
  const { entry, applied } = await revocations.revoke(draft, guard);
  metrics.tokenOperations.labels('revoke').inc();
  const { kind, issuer, id, reason } = draft;
  return {
    status: 201,
    body: { id: entry.entryId, until: timeOf(entry.untilMs), applied },
    audit: {
      ...{ entry_id: entry.entryId, kind, issuer, revoked_id: id, reason, applied },
      // So that a search for a subject, client or tenant finds what was done to it.
      ...(kind === 'subject' || kind === 'client' || kind === 'tenant' ? { [kind]: id } : {}),
    },
  };
}

/** Counts among the tokens this replica has verified and remembers; others cannot be known beforehand. */
async function dryRun(
  dependencies: AdminDependencies,
  given: RevocationDraft,
  guard: RevocationGuard,
): Promise<AdminAnswer> {
  const { revocations, tokens, refusedElsewhere } = dependencies;
  const draft = await revocations.permit(given, guard);
  const here = tokens.countVerified((principal) => revocations.wouldRefuse(draft, principal));
  const refused = here + ((await refusedElsewhere?.(draft)) ?? 0);
  const id = revocationEntryId(draft.kind, draft.issuer, draft.id);
  return { status: 200, body: { id, until: timeOf(draft.untilMs), dry_run: true, would_refuse: refused } };
}

const timeOf = (ms: number | 'forever') => (ms === 'forever' ? ms : new Date(Math.min(ms, MAX_DATE_MS)).toISOString());
const MAX_DATE_MS = 8.64e15;

/** An entry as operators read it. */
function shown(entry: RevocationEntry): Record<string, unknown> {
  const { entryId, kind, issuer, id, reason, untilMs, notBeforeMs, revokedAtMs, seq } = entry;
  return {
    id: entryId,
    kind,
    issuer,
    [kind === 'token' ? 'jti' : 'revoked_id']: id,
    reason,
    revoked_at: timeOf(revokedAtMs),
    until: timeOf(untilMs),
    ...(notBeforeMs === undefined ? {} : { not_before: timeOf(notBeforeMs) }),
    pending: seq === 0,
  };
}

/** GET /v1/revocations: active entries, newest first. */
export const listRevocations = endpoint({
  method: 'GET',
  path: '/v1/revocations',
  permission: 'revocations:read',
  reach: 'tenant',
  query: z.strictObject({ ...pageQuery, kind: z.enum(revocationKinds).optional() }),
  answers: { 200: pageShape(shownRevocation) },
  summary: 'Active revocations, newest first, by cursor pages.',
  handler: async ({ revocations }, { query }) => {
    const kinds = query.kind && [query.kind];
    const page = await pageFrom(
      (after, limit) => revocations.list({ kinds, after, limit }),
      ({ revokedAtMs, entryId }) => ({ atMs: revokedAtMs, id: entryId }),
      query,
    );
    return { status: 200, body: { ...page, items: page.items.map(shown) } };
  },
});

/** GET /v1/revocations/{id}. */
export const showRevocation = endpoint({
  method: 'GET',
  path: '/v1/revocations/{id}',
  permission: 'revocations:read',
  reach: 'tenant',
  answers: { 200: shownRevocation },
  summary: 'One active revocation.',
  handler: async ({ revocations }, { path }) => {
    const entry = await revocations.find(path.id as string);
    if (entry === undefined) throw notFound('no such revocation');
    return { status: 200, body: shown(entry) };
  },
});

/** DELETE /v1/revocations/{id}: 204; what it refused passes again, on every replica. */
export const undoRevocation = endpoint({
  method: 'DELETE',
  path: '/v1/revocations/{id}',
  permission: 'revocations:write',
  event: 'revocation.undone',
  answers: { 204: null },
  refusals: ['client_still_disabled'],
  summary: 'Take a revocation back.',
  handler: async ({ revocations, clients }, { path }) => {
    const entry = await revocations.find(path.id as string);
    // Replicas that know clients by the log alone would let it in.
    if (entry?.kind === 'client' && (await clients?.store.get(entry.issuer, entry.id))?.disabled === true)
      throw new SidecarError('conflict', 'client_still_disabled', 'the client is disabled');
    if (!(await revocations.undo(path.id as string))) throw notFound('no such revocation');
    return { status: 204, audit: { entry_id: path.id } };
  },
});
