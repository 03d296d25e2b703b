// Step 7: turns a credential into a verified token. Knows nothing of signatures (token/verify.ts does), but decides whose
// word counts on this route and who has spent too many bad tokens to be given signature work.
import { SidecarError } from '../../core/errors.ts';
import type { Reason } from '../../core/reasons.ts';
import { VerifiedToken } from '../../token/verified-token.ts';
import type { Exchange } from '../exchange.ts';
import type { Route } from '../inbound/route.ts';
import { type Resume, type StageResult, waiting } from '../stage.ts';
import { callerCertificate } from './certificate.ts';

/** Verifies the credential, from the cache when it can. */
export function authenticate(exchange: Exchange, resume: Resume): StageResult {
  const route = exchange.route as Route;
  if (route.auth === 'none' || exchange.preflight) return undefined;
  const { credential, generation } = exchange;
  if (credential === undefined) return withoutToken(exchange, route);
  const thumbprint = callerCertificate(exchange)?.thumbprint;
  const known = generation.verifier.peek(credential, thumbprint);
  if (known instanceof VerifiedToken) {
    generation.tokenLookups.hit.inc();
    return accept(exchange, known);
  }
  const retryAfter = generation.badTokens.retryAfter(exchange.client.key);
  if (retryAfter !== undefined) {
    exchange.details = { retryAfter };
    return 'bad_tokens';
  }
  if (known !== undefined) {
    generation.tokenLookups.refused.inc();
    return refusedToken(exchange, known);
  }
  generation.tokenLookups.miss.inc();
  generation.verifier.verify(credential, route.issuers, thumbprint).then(
    (token) => resume(exchange, accept(exchange, token)),
    (error: unknown) => resume(exchange, refusedToken(exchange, error)),
  );
  return waiting;
}

/** A client certificate where the route takes it, else nobody. */
function withoutToken(exchange: Exchange, { byCertificate, auth }: Route): Reason | undefined {
  const shown = byCertificate ? exchange.generation.certificates?.(exchange) : undefined;
  if (shown === undefined) return auth === 'required' ? 'credential_missing' : undefined;
  if (typeof shown === 'string') return shown;
  exchange.token = shown;
  return undefined;
}

/** The cache knows tokens of all issuers; the route may accept fewer. */
function accept(exchange: Exchange, token: VerifiedToken): Reason | undefined {
  const route = exchange.route as Route;
  if (!route.issuers.includes(token.principal.issuerName)) {
    exchange.generation.badTokens.charge(exchange.client.key);
    return 'token_issuer_unknown';
  }
  exchange.token = token;
  return undefined;
}

function refusedToken(exchange: Exchange, error: unknown): Reason {
  if (!(error instanceof SidecarError)) {
    exchange.generation.onDefect(error);
    return 'internal';
  }
  exchange.rule = error.message;
  if (error.kind === 'unauthenticated') exchange.generation.badTokens.charge(exchange.client.key);
  return error.reason;
}
