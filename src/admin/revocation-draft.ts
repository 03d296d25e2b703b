// From what an operator writes to an entry of the revocation log: whose id, until when. An entry lives as long as what it
// refuses can live (design 5), so the defaults come from the issuer's longest lifetime.
import { z } from 'zod';
import { recordReasons } from '../clients/announcer.ts';
import { isStorable } from '../core/encoding.ts';
import { parseDuration } from '../core/units.ts';
import { type RevocationDraft, type RevocationKind, revocationKinds } from '../stores/contracts/revocations.ts';
import type { AdminIssuer } from './dependencies.ts';
import { FieldsError } from './endpoint.ts';

const instant = z.iso.datetime({ offset: true, error: 'needs a time such as 2026-05-01T12:00:00Z' });
const moment = z.union(
  [z.literal('forever'), instant, z.string().refine((text) => parseDuration(text) !== undefined)],
  { error: 'needs a time such as 2026-05-01T12:00:00Z, a duration such as 24h, or forever' },
);
/** Why, for the list and the audit log. */
export const reason = z
  .string()
  .max(256)
  .regex(/^[^\p{Cc}]*$/u, 'must not hold control characters')
  .default('operator');

/** Body of POST /v1/revocations that names what to refuse. */
export const namedRevocation = z.strictObject({
  kind: z.enum(revocationKinds as [RevocationKind, ...RevocationKind[]]),
  /** Name of an issuer block, or its `iss`; default: the only one. */
  issuer: z.string().min(1).optional(),
  id: z.string().min(1).max(1024).refine(isStorable, 'must not hold a NUL'),
  /** A time, a duration from now, or `forever`. */
  until: moment.optional(),
  /** Refuse only what was issued before: a time, or `now`. */
  not_before: z
    .union([z.literal('now'), instant], { error: 'needs a time such as 2026-05-01T12:00:00Z, or now' })
    .optional(),
  reason,
  dry_run: z.boolean().default(false),
});

/** Body of POST /v1/revocations that holds the leaked token itself. */
export const tokenRevocation = z.strictObject({
  token: z
    .string()
    .min(1)
    .max(48 * 1024),
  reason,
  dry_run: z.boolean().default(false),
});

const FOREVER_KINDS: readonly RevocationKind[] = ['subject', 'client', 'tenant', 'key'];

/** The draft that a named revocation means. Throws FieldsError. */
export function draftOf(
  body: z.output<typeof namedRevocation>,
  issuers: readonly AdminIssuer[],
  nowMs: number,
): RevocationDraft {
  const issuer = issuerOf(body.issuer, issuers);
  const { kind, id, reason } = body;
  // By these the control plane knows its own entries, and takes them back when the client may go on.
  if (kind === 'client' && Object.values<string>(recordReasons).includes(reason)) {
    throw new FieldsError([{ path: 'reason', problem: 'is a word of the control plane: say it otherwise' }]);
  }
  const notBeforeMs = body.not_before === 'now' ? nowMs : body.not_before && Date.parse(body.not_before);
  const untilMs = untilOf(body.until, kind, issuer, nowMs);
  if (untilMs === 'forever' && !FOREVER_KINDS.includes(kind)) {
    throw new FieldsError([{ path: 'until', problem: `forever is only for ${FOREVER_KINDS.join(', ')}` }]);
  }
  if (untilMs !== 'forever' && untilMs <= nowMs) throw new FieldsError([{ path: 'until', problem: 'has passed' }]);
  return {
    kind,
    issuer: issuer.issuer,
    id,
    untilMs,
    reason,
    ...(typeof notBeforeMs === 'number' ? { notBeforeMs } : {}),
  };
}

function issuerOf(wanted: string | undefined, issuers: readonly AdminIssuer[]): AdminIssuer {
  const found = issuers.filter(({ name, issuer }) => wanted === undefined || name === wanted || issuer === wanted);
  if (found.length === 1) return found[0] as AdminIssuer;
  const names = issuers.map(({ name }) => name).join(', ');
  throw new FieldsError([{ path: 'issuer', problem: `needs to be one of ${names}` }]);
}

/** A leaked key signs what it likes for as long as it is trusted, so only that kind is refused for ever by default. */
function untilOf(
  until: string | undefined,
  kind: RevocationKind,
  issuer: AdminIssuer,
  nowMs: number,
): number | 'forever' {
  if (until === 'forever') return 'forever';
  if (until === undefined) return kind === 'key' ? 'forever' : nowMs + longestLife(issuer);
  const durationMs = parseDuration(until);
  return durationMs === undefined ? Date.parse(until) : nowMs + durationMs;
}

/** How long a token issued now by a machine whose clock is ahead could be accepted, in ms. */
export function longestLife(issuer: AdminIssuer): number {
  return issuer.maxLifetimeMs + 2 * issuer.clockToleranceMs;
}
