// The stored form of the head, `epoch:seq`. While a log is being rebuilt in several calls it starts with `!` and counts as
// missing (lua/rebuild.lua).
import { MAX_SEQ, type RevocationHead } from '../contracts/revocations.ts';

/** Undefined for anything that is no visible head, or one beyond all counting that only somebody else can have written. */
export function parseHead(text: unknown): RevocationHead | undefined {
  const match = typeof text === 'string' ? /^([A-Za-z0-9_-]+):(\d{1,15})$/.exec(text) : null;
  const seq = Number(match?.[2]);
  return match && seq < MAX_SEQ ? { epoch: match[1] as string, seq } : undefined;
}
