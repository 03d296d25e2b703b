// Turns what ioredis throws into our one error, without the command that failed: the arguments of AUTH are a password.
import type { SidecarError } from '../../core/errors.ts';
import { storeUnavailable } from '../../core/errors.ts';

/** The code that Redis puts first in an error reply (`NOSCRIPT`, `OOM`, `NOPERM`, …); '' for other errors. */
export function redisCode(error: unknown): string {
  if (!(error instanceof Error) || error.name !== 'ReplyError') return '';
  return /^[A-Z]+/.exec(error.message)?.[0] ?? '';
}

/** `store_unavailable` with a cause that carries no arguments. */
export function storeError(error: unknown): SidecarError {
  const code = redisCode(error);
  const cause = error instanceof Error ? new Error(error.message) : undefined;
  return storeUnavailable(code === '' ? 'Redis did not answer' : `Redis refused: ${code}`, { cause });
}

/** `store_unavailable` for a reply of a shape that no script of ours gives. */
export function badReply(operation: string): SidecarError {
  return storeUnavailable(`Redis gave a malformed reply to ${operation}`);
}
