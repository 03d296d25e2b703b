// The closed list of why a request was decided as it was: reason > public code > status. The same reason string stands
// in the log, in the metric label and in tests; clients see only the code, so that a refusal tells an attacker nothing.

/** One row of the table: what the client sees, and what the operator can do about it. */
export interface ReasonRow {
  readonly status: number;
  /** The `code` member of the problem document: one word for many reasons. */
  readonly code: string;
  /** RFC 9457 `title`. */
  readonly title: string;
  /** Shown by `doorward why` only. */
  readonly remedy: string;
}

const row = (status: number, code: string, title: string, remedy: string): ReasonRow => ({
  status,
  code,
  title,
  remedy,
});
const badRequest = (remedy: string) => row(400, 'invalid_request', 'Bad request', remedy);
const invalidToken = (remedy: string) => row(401, 'invalid_token', 'Unauthorized', remedy);
const forbidden = (code: string, remedy: string) => row(403, code, 'Forbidden', remedy);

/** Every reason there is, with status and public code. Labels of `doorward_decisions_total` come from here alone. */
export const reasons = {
  ok: row(200, 'ok', 'OK', 'Nothing to do.'),
  ok_anonymous: row(200, 'ok', 'OK', 'The route allows requests without a credential.'),
  shadow: row(200, 'ok', 'OK', 'The route is in shadow mode: the refusal was logged, the request went through.'),

  request_malformed: badRequest(
    'The request is not valid HTTP/1.1; look at what the client or a proxy in front sends.',
  ),
  path_malformed: badRequest('The path holds dot segments, a backslash, NUL, a bad % or raw bytes; mend the caller.'),
  path_ambiguous: badRequest(
    'Encoded slash, // or double encoding: name it under `relax` of the route if it is needed. Or a spelling (case, slash at the end, encoding) that some applications take for a path with another policy: give both routes the same one.',
  ),
  host_malformed: badRequest('Host is missing, repeated, malformed or unlike the absolute-form target.'),
  host_misdirected: row(
    421,
    'misdirected_request',
    'Misdirected request',
    'The certificate of the connection is not for this Host: list it in `hosts` of one, or set proxy.tls.unknown_host: first.',
  ),
  header_malformed: badRequest('A header field is repeated or malformed where one valid value is required.'),
  forwarded_malformed: badRequest('The trusted proxy sent a repeated or malformed forwarded field; mend its config.'),
  credential_ambiguous: badRequest('More than one credential arrived; send exactly one.'),
  websocket_malformed: badRequest('The WebSocket handshake is not RFC 6455 version 13.'),
  headers_too_large: row(431, 'headers_too_large', 'Request header fields too large', 'Raise proxy.header_size.'),
  body_too_large: row(413, 'body_too_large', 'Content too large', 'Raise body_size of the route.'),
  request_timeout: row(408, 'request_timeout', 'Request timeout', 'The client was too slow; see proxy.header_timeout.'),
  expectation_failed: row(417, 'expectation_failed', 'Expectation failed', 'Only Expect: 100-continue is supported.'),
  connect_unsupported: row(501, 'not_implemented', 'Not implemented', 'CONNECT is not for a sidecar.'),
  route_not_found: row(404, 'not_found', 'Not found', 'No route matches; see `doorward check` for the table.'),
  method_not_allowed: row(405, 'method_not_allowed', 'Method not allowed', 'Add the method to the route.'),
  origin_refused: forbidden('origin_refused', 'Add the Origin to `cors.origins` of the route.'),

  credential_missing: row(401, 'unauthorized', 'Unauthorized', 'Send a token, or set `auth: optional` on the route.'),
  token_malformed: invalidToken('What was sent is no compact JWS, or its JSON is not strict.'),
  token_too_large: invalidToken('The token is longer than 16 KiB.'),
  token_header_refused: invalidToken('The JOSE header has `crit` or another member that we never follow.'),
  token_type_refused: invalidToken('`typ` is not listed under `types` of the issuer, or it is an ID token.'),
  token_algorithm_refused: invalidToken('`alg` is not listed under `algorithms` of the issuer.'),
  token_issuer_unknown: invalidToken('`iss` is no issuer that the route accepts; compare byte for byte.'),
  token_key_unknown: invalidToken('No key of the issuer has this `kid`; see doorward_jwks_age_seconds.'),
  token_signature_invalid: invalidToken('The signature does not verify with the key of the issuer.'),
  token_expired: invalidToken('`exp` has passed; the caller must fetch a new token.'),
  token_not_yet_valid: invalidToken('`nbf` or `iat` lies in the future beyond clock_tolerance; compare clocks.'),
  token_lifetime_exceeded: invalidToken('exp - iat is above max_lifetime of the issuer.'),
  token_audience_mismatch: invalidToken('`aud` holds none of the audiences of the issuer block.'),
  token_claims_invalid: invalidToken('A required claim is missing or has another type or value.'),
  token_certificate_mismatch: invalidToken(
    '`cnf` binds the token to a client certificate, and the connection shows another or none (proxy.tls.client_ca).',
  ),
  certificate_nameless: invalidToken(
    'The client certificate has not exactly one name of the kind that proxy.tls.client_subject asks for.',
  ),
  certificate_expired: invalidToken('The client certificate has expired since the connection was made; reconnect.'),
  token_revoked: invalidToken('Revoked; see `doorward revoke list`.'),
  client_disabled: invalidToken('The client record is disabled.'),
  bad_tokens: row(429, 'rate_limited', 'Too many requests', 'The address sent too many bad tokens (proxy.bad_tokens).'),
  keys_unavailable: row(
    503,
    'temporarily_unavailable',
    'Service unavailable',
    'No usable keys of the issuer; see logs.',
  ),

  scope_insufficient: forbidden('insufficient_scope', 'The token lacks a scope that the route requires.'),
  role_insufficient: forbidden('forbidden', 'The token lacks a role that the route requires.'),
  claim_mismatch: forbidden('forbidden', 'A claim has none of the values that the route requires.'),

  rate_limited: row(429, 'rate_limited', 'Too many requests', 'The named limit is used up; see `doorward limit show`.'),
  concurrency_exceeded: row(
    429,
    'rate_limited',
    'Too many requests',
    'The caller has as many requests under way on this replica as the named limit allows (`concurrent`).',
  ),
  streams_exhausted: row(
    429,
    'rate_limited',
    'Too many requests',
    'The caller holds as many streams as streams_per_caller of the upstream allows.',
  ),
  limits_unavailable: row(503, 'temporarily_unavailable', 'Service unavailable', 'Redis is away, on_store_down: deny.'),
  revocations_unavailable: row(503, 'temporarily_unavailable', 'Service unavailable', 'Revocations are not known yet.'),
  store_unavailable: row(503, 'temporarily_unavailable', 'Service unavailable', 'A store did not answer.'),
  overloaded: row(
    503,
    'temporarily_unavailable',
    'Service unavailable',
    'More than this replica serves in time: proxy.max_requests are under way, or it is later than proxy.max_delay. Add replicas.',
  ),
  draining: row(503, 'draining', 'Service unavailable', 'The replica is shutting down.'),

  upstream_unreachable: row(502, 'upstream_unreachable', 'Bad gateway', 'The upstream refused the connection.'),
  upstream_reset: row(502, 'upstream_reset', 'Bad gateway', 'The upstream closed before it answered.'),
  upstream_invalid: row(
    502,
    'upstream_invalid',
    'Bad gateway',
    'The upstream answered something that is not HTTP/1.1.',
  ),
  upstream_busy: row(503, 'upstream_busy', 'Service unavailable', 'Raise connections or queue of the upstream.'),
  upstream_unavailable: row(
    503,
    'upstream_unavailable',
    'Service unavailable',
    'No endpoint takes requests: unreachable or unhealthy; see `doorward upstream list`.',
  ),
  route_changed: row(
    503,
    'temporarily_unavailable',
    'Service unavailable',
    'The route leads elsewhere, or tells the application somebody else, since a reload: the stream was ended, connect again.',
  ),
  upstream_timeout: row(504, 'upstream_timeout', 'Gateway timeout', 'No response head within response_timeout.'),
  client_aborted: row(499, 'client_aborted', 'Client closed request', 'The client went away; nothing to do.'),
  media_type_unsupported: row(415, 'unsupported_media_type', 'Unsupported media type', 'Send application/json.'),
  fields_invalid: row(422, 'invalid_fields', 'Unprocessable content', 'Mend the fields that `errors` names.'),
  resource_not_found: row(
    404,
    'not_found',
    'Not found',
    'The admin API has nothing of this name or id; list what there is.',
  ),
  config_refused: row(422, 'config_refused', 'Configuration refused', 'Mend what `errors` names; the old one serves.'),
  operator_token_refused: row(401, 'invalid_token', 'Unauthorized', 'Send a token of state_dir/operators.json.'),
  operator_forbidden: forbidden('forbidden', 'The operator lacks the permission of this endpoint.'),
  operator_failures: row(429, 'rate_limited', 'Too many requests', 'Too many wrong operator tokens; wait a minute.'),
  host_refused: forbidden('forbidden', 'Call the admin port by the address it listens on, or by a loopback name.'),
  not_configured: row(501, 'not_configured', 'Not configured', 'Set what the operation needs in sidecar.yaml.'),
  key_state_refused: row(
    409,
    'conflict',
    'Conflict',
    'The state of the key does not allow it; see `doorward key list`.',
  ),
  sealed_unreadable: row(
    500,
    'internal',
    'Internal error',
    'A sealed field does not open: its data key is gone or its bytes were changed; see `doorward data-key status`.',
  ),
  audit_unavailable: row(
    503,
    'temporarily_unavailable',
    'Service unavailable',
    'The audit log takes no events, so nothing may be changed: see component `audit` of /readyz.',
  ),
  audit_tampered: row(
    500,
    'internal',
    'Internal error',
    'The audit log is not what its last checkpoint says: run `doorward audit verify`.',
  ),
  precondition_failed: row(
    412,
    'precondition_failed',
    'Precondition failed',
    'Somebody changed it meanwhile: read it again, and send its new ETag as If-Match.',
  ),
  cleanup_busy: row(
    409,
    'conflict',
    'Conflict',
    'Another replica is removing what has expired; ask again in a minute.',
  ),
  idempotency_mismatch: row(
    422,
    'idempotency_mismatch',
    'Unprocessable content',
    'The Idempotency-Key was used for another call within 24 hours: use a new key for each call.',
  ),
  idempotency_busy: row(
    409,
    'idempotency_busy',
    'Conflict',
    'A call with this Idempotency-Key is under way, or its replica died before it could keep the answer: look what is there.',
  ),
  client_exists: row(
    409,
    'conflict',
    'Conflict',
    'The issuer has a client of this id already; choose another or change that.',
  ),
  client_ambiguous: row(
    409,
    'conflict',
    'Conflict',
    'Several issuers have a client of this id: name the issuer (?issuer=).',
  ),
  client_secrets_full: row(
    409,
    'conflict',
    'Conflict',
    'Two secrets of the client are live: remove the one that is no longer used.',
  ),
  client_without_secrets: row(
    409,
    'conflict',
    'Conflict',
    'The client authenticates by key or not at all; see token_endpoint_auth_method.',
  ),
  client_still_disabled: row(
    409,
    'conflict',
    'Conflict',
    'The client is disabled, and is refused by this entry: enable the client, which takes back what disabling it refused.',
  ),
  tenant_exceeded: forbidden('forbidden', 'The operator belongs to one tenant; ask one who belongs to none.'),
  operator_exists: row(409, 'conflict', 'Conflict', 'An operator with this name or certificate exists already.'),
  operator_last: row(409, 'conflict', 'Conflict', 'Add another operator that may manage operators first.'),
  grant_exceeded: forbidden('forbidden', 'An operator can neither grant nor take away what it does not have itself.'),
  internal: row(500, 'internal', 'Internal error', 'A defect: please report it with the log line.'),
} as const satisfies Record<string, ReasonRow>;

/** Name of a row of {@link reasons}. */
export type Reason = keyof typeof reasons;
