// The closed list of `error` words that the public OAuth endpoints answer, from the RFCs that name them. Apart from reasons.ts,
// because their words are those RFCs' and not ours. docs/reasons.md is made from both.

/** One row of the list. */
export interface OAuthErrorRow {
  /** Statuses it comes with. */
  readonly statuses: readonly number[];
  /** Where the word comes from. */
  readonly source: string;
  /** What the client's developer can do about it. */
  readonly remedy: string;
}

const row = (statuses: readonly number[], source: string, remedy: string): OAuthErrorRow => ({
  statuses,
  source,
  remedy,
});
const RFC_6749 = 'RFC 6749 5.2';
const OURS = 'RFC 6749 8.5';

/** Every `error` there is. */
export const oauthErrors = {
  invalid_request: row(
    [400, 405, 408, 409, 413, 415],
    RFC_6749,
    'A parameter is missing, repeated or malformed, or the body is no form; `error_description` says which.',
  ),
  invalid_client: row(
    [401],
    RFC_6749,
    'Client unknown, disabled, or its secret, key or method is wrong; see the audit log.',
  ),
  invalid_grant: row(
    [400],
    RFC_6749,
    'The code or refresh token is invalid, spent, expired, revoked or of another client.',
  ),
  unauthorized_client: row([400], RFC_6749, 'The client may not use this grant, or the token is not its own.'),
  unsupported_grant_type: row([400], RFC_6749, 'There are client_credentials, authorization_code and refresh_token.'),
  invalid_scope: row([400], RFC_6749, 'A scope is not one of the client, of its tier, or of the grant.'),
  invalid_target: row([400], 'RFC 8707 2', '`resource` is none of the audiences of the client.'),
  invalid_token: row([401], 'RFC 6750 3.1', 'The access token, or the token that allows registration, does not count.'),
  insufficient_scope: row([403], 'RFC 6750 3.1', 'Userinfo needs the scope openid.'),
  invalid_client_metadata: row([400], 'RFC 7591 3.2.2', 'A member of the registration does not hold.'),
  invalid_redirect_uri: row([400], 'RFC 7591 3.2.2', 'A redirect URI is not allowed for this client.'),
  rate_limited: row([429], OURS, 'Wait for Retry-After; see `oauth.limits`.'),
  temporarily_unavailable: row([503], OURS, 'A store is away or no key is known yet: try again after Retry-After.'),
  server_error: row([500], OURS, 'A defect: please report it with the log line.'),
} as const satisfies Record<string, OAuthErrorRow>;

/** `error` of an answer. */
export type OAuthErrorCode = keyof typeof oauthErrors;
