// Idempotency-Key on creation: whoever lost the answer asks again with the same key and gets the first answer, for 24 hours.
// Never two things: where it cannot be known whether the first call made one, the second is refused. draft-ietf-httpapi-idempotency-key-header.
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { type ErrorKind, SidecarError } from '../core/errors.ts';
import type { IdempotentCall, KeptAnswer } from '../stores/contracts/idempotency.ts';
import type { AdminDependencies } from './dependencies.ts';

const KEPT_MS = 24 * 3_600_000;
/** How long a call waits for another one with its key before it gives up. */
const PATIENCE_MS = 3000;
const POLL_MS = 50;

/** What makes two calls the same one. */
export interface CallIdentity {
  readonly operator: string;
  readonly method: string;
  /** With its query, as it was sent. */
  readonly target: string;
  readonly body: unknown;
}

/** The key of the request; undefined without one. Throws SidecarError for a repeated or malformed one. */
export function idempotencyKey(request: IncomingMessage): string | undefined {
  const fields = request.headersDistinct['idempotency-key'];
  if (fields === undefined) return undefined;
  const [key = ''] = fields;
  if (fields.length > 1 || !/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw new SidecarError(
      'malformed',
      'header_malformed',
      'Idempotency-Key needs one value of 1 to 255 visible characters',
    );
  }
  return key;
}

/**
 * Runs `make` for the first call of a key, and answers what that one answered to every later one. Throws SidecarError
 * `idempotency_mismatch` for another call under the key, `idempotency_busy` when the first one does not end in time.
 */
export async function once(
  { idempotency, clock, log }: AdminDependencies,
  key: string,
  identity: CallIdentity,
  make: () => Promise<KeptAnswer>,
): Promise<{ readonly answer: KeptAnswer; readonly replayed: boolean }> {
  const { operator, method, target, body } = identity;
  const call: IdempotentCall = {
    keyDigest: digest([operator, key]),
    requestDigest: digest([method, target, JSON.stringify(body) ?? '']),
  };
  const nowMs = clock.nowMs();
  const until = clock.monotonicMs() + PATIENCE_MS;
  let found = await idempotency.begin(call, nowMs, nowMs + KEPT_MS);
  while (found.state === 'running' && clock.monotonicMs() < until) {
    await delay(POLL_MS);
    found = await idempotency.begin(call, nowMs, nowMs + KEPT_MS);
  }
  if (found.state === 'answered') return { answer: found.answer, replayed: true };
  if (found.state === 'other') {
    throw new SidecarError('malformed', 'idempotency_mismatch', 'the Idempotency-Key was used for another call');
  }
  if (found.state === 'running') {
    throw new SidecarError('conflict', 'idempotency_busy', 'a call with this Idempotency-Key has not ended');
  }
  const answer = await make().catch(async (error) => {
    if (nothingHappened(error)) await idempotency.abandon(call).catch(() => undefined);
    throw error;
  });
  // It is made and audited: the caller shall have the answer, though a repetition would be refused.
  await idempotency.finish(call, answer).catch((error) => log.warn({ err: error }, 'idempotent_answer_not_kept'));
  return { answer, replayed: false };
}

const REFUSALS: ReadonlySet<ErrorKind> = new Set([
  'malformed',
  'unauthenticated',
  'forbidden',
  'not_found',
  'conflict',
  'limited',
  'misconfigured',
]);

/** A store that goes away while it commits may have made the thing. */
const nothingHappened = (error: unknown) => error instanceof SidecarError && REFUSALS.has(error.kind);

/** JSON keeps the parts apart, whatever they hold. */
const digest = (parts: readonly string[]) => createHash('sha256').update(JSON.stringify(parts)).digest('base64url');
