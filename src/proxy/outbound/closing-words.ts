// What a WebSocket client is told when we end its stream: a code of RFC 6455 section 7.4.1 (or IANA's registry) and a text
// that says what helps, and no more: a new token, another try, or nothing. Codes from 4000 on are the application's own.
import { type Reason, reasons } from '../../core/reasons.ts';

/** Code and text of a close frame. */
export interface ClosingWords {
  readonly code: number;
  readonly text: string;
}

const goingAway = { code: 1001, text: 'going away' };
const newToken = { code: 1008, text: 'token no longer valid' };
const notAllowed = { code: 1008, text: 'no longer allowed' };
const elsewhere = { code: 1012, text: 'connect again' };
const tryLater = { code: 1013, text: 'try again later' };

/** The words for a stream that ends for `reason`. */
export function closingWords(reason: Reason): ClosingWords {
  if (reason === 'draining') return goingAway;
  if (reason === 'route_changed') return elsewhere;
  const { status } = reasons[reason];
  if (status === 401) return newToken;
  return status >= 500 ? tryLater : notAllowed;
}
