// The one place that turns a reason into bytes: RFC 9457 documents, RFC 6750 challenges. A client learns the public code
// and the request id; the reason itself only with `error_detail: reason`.
import { type Reason, type ReasonRow, reasons } from '../core/reasons.ts';

/** What else a refusal may say; all of it is safe to show to the caller. */
export interface ProblemDetails {
  /** Seconds, at least 1. */
  readonly retryAfter?: number | undefined;
  /** Scopes that the route requires, for 403 insufficient_scope. */
  readonly requiredScopes?: readonly string[] | undefined;
  /** Scopes that the caller's own token carries. */
  readonly providedScopes?: readonly string[] | undefined;
  /** Names of the limits that refused. */
  readonly violatedPolicies?: readonly string[] | undefined;
  /** For 405. */
  readonly allow?: string | undefined;
  /** For operators' endpoints only: what exactly is wrong with the input. */
  readonly detail?: string | undefined;
  /** For operators' endpoints only: every field that is wrong. */
  readonly errors?: readonly FieldProblem[] | undefined;
}

/** One wrong field of a request body; `problem` never quotes the value. */
export interface FieldProblem {
  readonly path: string;
  readonly problem: string;
}

/** A refusal, ready to be written by any listener. */
export interface Problem {
  readonly status: number;
  /** Flat array of names and values, Content-Length included. */
  readonly headers: readonly string[];
  readonly body: string;
}

// RFC draft-ietf-httpapi-ratelimit-headers, section "Problem Types".
const QUOTA_EXCEEDED = 'https://iana.org/assignments/http-problem-types#quota-exceeded';

/** Builds the answer for `reason`. `realm` names the application in challenges. */
export function problem(
  reason: Reason,
  requestId: string,
  options: { readonly realm: string; readonly showReason: boolean },
  details: ProblemDetails = {},
): Problem {
  const row: ReasonRow = reasons[reason];
  const body = JSON.stringify({
    type: reason === 'rate_limited' ? QUOTA_EXCEEDED : 'about:blank',
    title: row.title,
    status: row.status,
    code: row.code,
    request_id: requestId,
    // JSON leaves out what is undefined.
    reason: options.showReason ? reason : undefined,
    detail: details.detail,
    errors: details.errors,
    'violated-policies': details.violatedPolicies,
    required: details.requiredScopes,
    provided: details.providedScopes,
  });
  const headers = [
    'Content-Type',
    'application/problem+json',
    'Content-Length',
    String(Buffer.byteLength(body)),
    'Cache-Control',
    'no-store',
    'X-Request-Id',
    requestId,
  ];
  const challenge = challengeFor(reason, row, options.realm, details);
  if (challenge !== undefined) headers.push('WWW-Authenticate', challenge);
  if (details.retryAfter !== undefined) headers.push('Retry-After', String(details.retryAfter));
  else if (row.status === 503) headers.push('Retry-After', '1');
  if (details.allow !== undefined) headers.push('Allow', details.allow);
  return { status: row.status, headers, body };
}

/** RFC 6750 section 3: no error code when no credential was sent, `scope` when a scope is missing. */
function challengeFor(reason: Reason, row: ReasonRow, realm: string, details: ProblemDetails): string | undefined {
  const scheme = `Bearer realm="${realm}"`;
  if (row.status === 401) return reason === 'credential_missing' ? scheme : `${scheme}, error="${row.code}"`;
  if (reason === 'credential_ambiguous') return `${scheme}, error="invalid_request"`;
  if (reason !== 'scope_insufficient') return undefined;
  return `${scheme}, error="insufficient_scope", scope="${(details.requiredScopes ?? []).join(' ')}"`;
}
