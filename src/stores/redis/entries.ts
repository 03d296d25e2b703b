// The stored form of a revocation entry: `seq:revokedAt:JSON`. The two numbers are Redis' to give and stand outside the
// JSON, because cjson would round times beyond 14 digits.
import { revocationEntryId } from '../contracts/entry-id.ts';
import { type RevocationDraft, type RevocationEntry, revocationKinds } from '../contracts/revocations.ts';
import { badReply } from './errors.ts';

/** JSON of what the caller gave. */
export function encodeDraft(draft: RevocationDraft): string {
  const { kind, issuer, id, untilMs, notBeforeMs, reason } = draft;
  return JSON.stringify({ kind, issuer, id, untilMs, notBeforeMs, reason });
}

/** Milliseconds for the expiry set; '' for entries that stay. */
export const encodeUntil = (untilMs: RevocationDraft['untilMs']) => (untilMs === 'forever' ? '' : String(untilMs));

const isTime = (value: unknown): value is number => Number.isSafeInteger(value);

function isDraft(value: unknown): value is RevocationDraft {
  if (typeof value !== 'object' || value === null) return false;
  const { kind, issuer, id, untilMs, notBeforeMs, reason } = value as Record<string, unknown>;
  return (
    (revocationKinds as readonly unknown[]).includes(kind) &&
    [issuer, id, reason].every((text) => typeof text === 'string') &&
    (untilMs === 'forever' || isTime(untilMs)) &&
    (notBeforeMs === undefined || isTime(notBeforeMs))
  );
}

/** Builds the entry that a store holds. */
export function makeEntry(draft: RevocationDraft, seq: number, revokedAtMs: number): RevocationEntry {
  const { kind, issuer, id, untilMs, notBeforeMs, reason } = draft;
  const bounds = notBeforeMs === undefined ? { untilMs } : { untilMs, notBeforeMs };
  return { kind, issuer, id, ...bounds, reason, entryId: revocationEntryId(kind, issuer, id), seq, revokedAtMs };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Throws `store_unavailable` when it is no entry: better no answer than one with a hole. */
export function decodeEntry(stored: unknown): RevocationEntry {
  const match = typeof stored === 'string' ? /^(\d{1,16}):(\d{1,16}):(.*)$/s.exec(stored) : null;
  const draft = match ? parseJson(match[3] as string) : undefined;
  if (match === null || !isDraft(draft)) throw badReply('a revocation entry');
  return makeEntry(draft, Number(match[1]), Number(match[2]));
}
