// The stored form of the head, `epoch:seq`. While a log is being rebuilt in several calls it starts with `!` and counts as
// missing (lua/rebuild.lua).
import type { RevocationHead } from '../contracts/revocations.ts';

/** Undefined for anything that is no visible head. */
export function parseHead(text: unknown): RevocationHead | undefined {
  const match = typeof text === 'string' ? /^([A-Za-z0-9_-]+):(\d{1,15})$/.exec(text) : null;
  return match ? { epoch: match[1] as string, seq: Number(match[2]) } : undefined;
}
