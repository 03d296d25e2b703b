// Whether a stream that is open would still be let in: its request goes through the same stages once more, under the
// configuration in force, without being charged, counted or asked of a store. So a reload cannot mean one thing to new
// requests and another to those that are open (design 4.11).
import type { Reason } from '../core/reasons.ts';
import type { Verifier } from '../token/verify.ts';
import type { BadTokens } from './decide/bad-tokens.ts';
import type { CheckGate } from './decide/check-gate.ts';
import { type Ending, Exchange } from './exchange.ts';
import type { Generation } from './generation.ts';
import { isDisabled, type OpenExchange } from './open-exchanges.ts';
import { run } from './pipeline.ts';

/** Nobody is charged for a token that was good when it was sent. */
const uncounted: BadTokens = { charge: () => undefined, retryAfter: () => undefined };

/**
 * Judges `open` by `generation`; calls `done` once, now or when its token has been verified again, with the judgement and
 * why it would be refused. From then on `open` counts as judged by `generation`, unless its key goes meanwhile.
 */
export function judgeAgain(
  open: OpenExchange,
  generation: Generation,
  done: (judged: Exchange, refusal: Reason | undefined) => void,
): void {
  const before = open.judged;
  const { request, kind, requestId, startedAtMs } = before;
  const ending: Ending = {
    refuse: (judged, reason) => done(judged, reason),
    proceed: (judged) => done(judged, changeFor(open, before, judged)),
  };
  const judging: Generation = {
    ...generation,
    tracing: undefined,
    badTokens: uncounted,
    gate: uncharged(generation.gate),
    verifier: remembering(open, generation.verifier),
  };
  const peer = generation.addresses.peer(request.socket.remoteAddress);
  open.judgedBy = generation;
  const judged = new Exchange(judging, kind, ending, request, {}, peer, requestId, startedAtMs);
  judged.secure = before.secure;
  run(judged);
}

/** It may come in, but would come to another place, or as somebody else than the application was told. */
function changeFor(open: OpenExchange, before: Exchange, judged: Exchange): Reason | undefined {
  // Without authentication now: what it was let in with goes on to be held against expiry and revocation.
  judged.token ??= before.token;
  const url = open.endpointUrl;
  if (url !== undefined && judged.route?.upstream.config.url.includes(url) !== true) return 'route_changed';
  const was = before.token?.principal;
  const is = judged.token?.principal;
  if (was === undefined || was === is) return undefined;
  const isSame = was.subject === is?.subject && was.client === is?.client && was.tenant === is?.tenant;
  return isSame ? undefined : 'route_changed';
}

/** While the issuer block and its key stand, the token was verified already: thousands of streams, not one signature. */
function remembering(open: OpenExchange, verifier: Verifier): Verifier {
  const { token, credential } = open.judged;
  const issuer = token && open.judgedBy?.verifier.issuer(token.principal.issuerName);
  if (token === undefined || issuer === undefined || issuer !== verifier.issuer(token.principal.issuerName))
    return verifier;
  return {
    ...verifier,
    peek: (sent, thumbprint) => (sent === credential ? token : verifier.peek(sent, thumbprint)),
  };
}

/** The check without limits: they were paid when the stream was opened. */
function uncharged(gate: CheckGate): CheckGate {
  return {
    check(judged) {
      if (judged.token === undefined) return undefined;
      if (isDisabled(judged)) return 'client_disabled';
      return gate.isRevoked(judged.token) ? 'token_revoked' : undefined;
    },
    shown: () => [],
    leave: () => undefined,
    isRevoked: (token) => gate.isRevoked(token),
  };
}
