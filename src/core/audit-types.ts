// The closed list of what is audited: dotted lower-case names with category and severity. The code, the admin API's
// schemas, the table `audit_types` in PostgreSQL and docs/audit-events.md are all made from this one list, because a query
// that spells a name unlike the program that wrote it finds nothing and says so to nobody.

/** How much a type of event matters: `notice` is a change, `warning` wants a look, `alert` wants a person. */
export type AuditSeverity = 'info' | 'notice' | 'warning' | 'alert';

/** One row of the list. */
export interface AuditTypeRow {
  /** What it is about: the part of the name before the first dot, or a wider word. */
  readonly category: AuditCategory;
  readonly severity: AuditSeverity;
  /** One sentence for docs/audit-events.md. */
  readonly meaning: string;
}

/** The categories, for filters and statistics. */
export type AuditCategory = 'admin' | 'client' | 'token' | 'key' | 'revocation' | 'system' | 'user' | 'session';

const row =
  (category: AuditCategory) =>
  (severity: AuditSeverity, meaning: string): AuditTypeRow => ({ category, severity, meaning });
const admin = row('admin');
const client = row('client');
const token = row('token');
const key = row('key');
const revocation = row('revocation');
const system = row('system');
const user = row('user');
const session = row('session');

/** Every type of event there is. */
export const auditTypes = {
  'operator.added': admin('notice', 'An operator was added.'),
  'operator.removed': admin('notice', 'An operator was removed; its token is refused at once.'),
  'operator.registered': admin('notice', 'The first operator was taken over from state_dir into an empty table.'),
  'operator.break_glass': admin('alert', 'The token of state_dir was accepted while PostgreSQL was away.'),
  'auth.failed': admin('warning', 'An admin token or certificate was refused.'),
  'auth.forbidden': admin('warning', 'An operator called an endpoint without having its permission.'),
  'auth.limited': admin('alert', 'An address sent so many wrong admin tokens that it is refused for a minute.'),
  'admin.read': admin('info', 'An operator read something.'),
  'admin.changed': admin('notice', 'An operator changed something that has no type of its own.'),
  'audit.exported': admin('notice', 'An operator exported the audit log.'),
  'audit.verified': admin('info', 'An operator had the audit log verified; the details say the outcome.'),
  'config.reloaded': admin('notice', 'A new configuration took effect.'),
  'config.reload_refused': admin('warning', 'A new configuration was refused; the old one stays.'),
  'limit.reset': admin('notice', 'What was counted of one caller was forgotten.'),
  'drain.begun': admin('notice', 'A replica stopped taking traffic.'),

  'client.registered': client('notice', 'A client was registered.'),
  'client.updated': client('notice', 'The record of a client was changed.'),
  'client.disabled': client('warning', 'A client was disabled; its tokens are refused at once.'),
  'client.enabled': client('notice', 'A disabled client was enabled again.'),
  'client.removed': client('notice', 'A client was removed.'),
  'client.secret_added': client('notice', 'A client got a further secret.'),
  'client.secret_removed': client('notice', 'A secret of a client was removed.'),
  'client.auth_failed': client('warning', 'A client failed to authenticate.'),
  'client.initial_token_issued': client('notice', 'An initial access token for registration was issued.'),

  'token.issued': token('info', 'An access token was issued.'),
  'token.refreshed': token('info', 'A refresh token was redeemed for a successor.'),
  'token.revoked': token('notice', 'A token was revoked by its client or an operator.'),
  'token.refused': token('warning', 'A grant was asked for and refused.'),
  'token.reuse_detected': token('alert', 'A spent refresh token was presented; its family is revoked.'),
  'code.minted': token('info', 'An authorization code was minted.'),
  'code.redeemed': token('info', 'An authorization code was redeemed.'),
  'code.reuse_detected': token('alert', 'A spent authorization code was presented; what came of it is revoked.'),
  'grant.revoked': token('notice', 'A grant with all its tokens was revoked.'),

  'key.added': key('notice', 'A signing key was made.'),
  'key.activated': key('notice', 'A signing key signs from now on.'),
  'key.retired': key('notice', 'A signing key is no longer published.'),
  'key.banned': key('alert', 'A signing key was banned; what it signed is refused everywhere.'),
  'data_key.rotated': key('notice', 'A new data key seals from now on.'),
  'data_key.resealed': key('notice', 'Everything under old data keys was sealed anew.'),

  'revocation.added': revocation('notice', 'A token, subject, session, client, tenant or key was revoked.'),
  'revocation.undone': revocation('warning', 'A revocation was taken back.'),

  'audit.tampered': system('alert', 'The audit log is not what the last checkpoint says; no checkpoint was signed.'),
  'audit.pruned': system('info', 'Events older than audit.retention were removed, recorded in a checkpoint.'),
  'cleanup.done': system('info', 'What had expired was removed; the details count it.'),

  'user.registered': user('notice', 'A user was registered.'),
  'user.updated': user('notice', 'The record of a user was changed.'),
  'user.disabled': user('warning', 'A user was disabled; sessions and tokens end at once.'),
  'user.enabled': user('notice', 'A disabled user was enabled again.'),
  'user.removed': user('notice', 'A user was removed.'),
  'user.locked': user('alert', 'A user was locked out after failed logins.'),
  'user.unlocked': user('notice', 'The lock of a user was lifted.'),
  'credential.added': user('notice', 'A user got a further credential.'),
  'credential.removed': user('notice', 'A credential of a user was removed.'),
  'credential.changed': user('notice', 'A user changed the password or another credential.'),
  'credential.reset_requested': user('notice', 'A reset of a credential was asked for.'),
  'credential.reset': user('notice', 'A credential was reset.'),
  'credential.suspicious': user(
    'alert',
    'A credential was used in a way that points to a copy, such as a counter going back.',
  ),

  'session.started': session('info', 'A user logged in.'),
  'session.refused': session('warning', 'A login failed.'),
  'session.ended': session('info', 'A session ended.'),
  'session.revoked': session('notice', 'A session was cut off.'),
} as const satisfies Record<string, AuditTypeRow>;

/** Name of a row of {@link auditTypes}. */
export type AuditType = keyof typeof auditTypes;

/** Every name, for schemas. */
export const auditTypeNames = Object.keys(auditTypes) as [AuditType, ...AuditType[]];
