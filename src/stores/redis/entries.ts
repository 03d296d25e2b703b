// The stored form of a revocation entry: `seq:revokedAt:JSON`. The two numbers are Redis' to give and stand outside the
// JSON, because cjson would round times beyond 14 digits.
import { revocationEntryId } from '../contracts/entry-id.ts';
import { MAX_SEQ, type RevocationDraft, type RevocationEntry, revocationKinds } from '../contracts/revocations.ts';
import { badReply } from './errors.ts';

/** JSON of what the caller gave; `madeAtMs` stands last, where lua/append.lua looks for it. */
export function encodeDraft(draft: RevocationDraft): string {
  const { kind, issuer, id, untilMs, notBeforeMs, reason, madeAtMs } = draft;
  return JSON.stringify({ kind, issuer, id, untilMs, notBeforeMs, reason, madeAtMs });
}

/** Milliseconds for the expiry set; '' for entries that stay. */
export const encodeUntil = (untilMs: RevocationDraft['untilMs']) => (untilMs === 'forever' ? '' : String(untilMs));

/** Longer ones come from no token and no operator. */
const MAX_TEXT = 4096;

const isTime = (value: unknown): value is number => Number.isSafeInteger(value);
const isText = (value: unknown): value is string => typeof value === 'string' && value.length <= MAX_TEXT;

function isDraft(value: unknown): value is RevocationDraft {
  if (typeof value !== 'object' || value === null) return false;
  const { kind, issuer, id, untilMs, notBeforeMs, reason, madeAtMs } = value as Record<string, unknown>;
  return (
    (revocationKinds as readonly unknown[]).includes(kind) &&
    isText(issuer) &&
    isText(id) &&
    isText(reason) &&
    (untilMs === 'forever' || isTime(untilMs)) &&
    [notBeforeMs, madeAtMs].every((time) => time === undefined || isTime(time))
  );
}

/** Builds the entry that a store holds; `entryId` where it is known. */
export function makeEntry(
  draft: RevocationDraft,
  seq: number,
  revokedAtMs: number,
  entryId = revocationEntryId(draft.kind, draft.issuer, draft.id),
): RevocationEntry {
  const { kind, issuer, id, untilMs, notBeforeMs, reason, madeAtMs } = draft;
  const bounds = notBeforeMs === undefined ? { untilMs } : { untilMs, notBeforeMs };
  const made = madeAtMs === undefined ? {} : { madeAtMs };
  return { kind, issuer, id, ...bounds, reason, ...made, entryId, seq, revokedAtMs };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/**
 * Throws `store_unavailable` when it is no entry: better no answer than one with a hole. `field`, where it stood in the hash,
 * is its id: deriving that anew for a million entries would double the time that reading them takes.
 */
export function decodeEntry(stored: unknown, field?: unknown): RevocationEntry {
  const match = typeof stored === 'string' ? /^(\d{1,15}):(\d{1,16}):(.*)$/s.exec(stored) : null;
  const draft = match ? parseJson(match[3] as string) : undefined;
  const [seq, revokedAtMs] = [Number(match?.[1]), Number(match?.[2])];
  if (!isDraft(draft) || seq > MAX_SEQ || !isTime(revokedAtMs)) throw badReply('a revocation entry');
  return makeEntry(draft, seq, revokedAtMs, typeof field === 'string' ? field : undefined);
}
