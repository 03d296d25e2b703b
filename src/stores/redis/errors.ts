// Turns what ioredis throws into our one error, without the command that failed: the arguments of AUTH are a password.
import { SidecarError, storeUnavailable } from '../../core/errors.ts';

/** The code that Redis puts first in an error reply (`NOSCRIPT`, `OOM`, `NOPERM`, …); '' for other errors. */
export function redisCode(error: unknown): string {
  if (error instanceof RedisRefusal) return error.code;
  if (!(error instanceof Error) || error.name !== 'ReplyError') return '';
  return codeOf(error.message);
}

/** The code of an error reply's text; '' where it has none. */
export const codeOf = (text: string): string => /^-?([A-Z]{1,32})/.exec(text)?.[1] ?? '';

/** What went wrong with a connection in one word, for people: the code of Redis or of the system; '' where there is none. */
export function problemCode(error: unknown): string {
  const own = redisCode(error);
  const { code } = error as { readonly code?: unknown };
  return own === '' && typeof code === 'string' && /^[A-Z0-9_]{1,64}$/.test(code) ? code : own;
}

/** Redis answered, with an error. */
export class RedisRefusal extends SidecarError {
  /** As Redis wrote it, such as `READONLY`. */
  readonly code: string;

  constructor(code: string, cause: Error) {
    super('store_unavailable', 'store_unavailable', `Redis refused: ${code}`, { cause });
    this.code = code;
  }
}

/** `store_unavailable` with a cause that carries no arguments. */
export function storeError(error: unknown): SidecarError {
  if (error instanceof SidecarError) return error;
  const code = redisCode(error);
  const cause = error instanceof Error ? new Error(error.message) : undefined;
  if (code !== '' && cause !== undefined) return new RedisRefusal(code, cause);
  return storeUnavailable('Redis did not answer', { cause });
}

/** `store_unavailable` for a reply of a shape that no script of ours gives. */
export function badReply(operation: string): SidecarError {
  return storeUnavailable(`Redis gave a malformed reply to ${operation}`);
}
