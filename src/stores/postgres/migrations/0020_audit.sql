-- oldest release: 0.1.0
-- The audit log: one hash chain per writer, signed checkpoints over the ends of all chains, keys that sign them.
create table audit_type (
  type text primary key,
  category text not null,
  severity text not null check (severity in ('info', 'notice', 'warning', 'alert'))
);
comment on table audit_type is 'Every type of event; the same list as src/core/audit-types.ts, compared by a test.';
insert into audit_type (type, category, severity) values
  ('operator.added', 'admin', 'notice'),
  ('operator.removed', 'admin', 'notice'),
  ('operator.registered', 'admin', 'notice'),
  ('operator.break_glass', 'admin', 'alert'),
  ('auth.failed', 'admin', 'warning'),
  ('auth.forbidden', 'admin', 'warning'),
  ('auth.limited', 'admin', 'alert'),
  ('admin.read', 'admin', 'info'),
  ('admin.changed', 'admin', 'notice'),
  ('audit.exported', 'admin', 'notice'),
  ('audit.verified', 'admin', 'info'),
  ('config.reloaded', 'admin', 'notice'),
  ('config.reload_refused', 'admin', 'warning'),
  ('limit.reset', 'admin', 'notice'),
  ('drain.begun', 'admin', 'notice'),
  ('client.registered', 'client', 'notice'),
  ('client.updated', 'client', 'notice'),
  ('client.disabled', 'client', 'warning'),
  ('client.enabled', 'client', 'notice'),
  ('client.removed', 'client', 'notice'),
  ('client.secret_added', 'client', 'notice'),
  ('client.secret_removed', 'client', 'notice'),
  ('client.auth_failed', 'client', 'warning'),
  ('client.initial_token_issued', 'client', 'notice'),
  ('token.issued', 'token', 'info'),
  ('token.refreshed', 'token', 'info'),
  ('token.revoked', 'token', 'notice'),
  ('token.refused', 'token', 'warning'),
  ('token.reuse_detected', 'token', 'alert'),
  ('code.minted', 'token', 'info'),
  ('code.redeemed', 'token', 'info'),
  ('code.reuse_detected', 'token', 'alert'),
  ('grant.revoked', 'token', 'notice'),
  ('key.added', 'key', 'notice'),
  ('key.activated', 'key', 'notice'),
  ('key.retired', 'key', 'notice'),
  ('key.banned', 'key', 'alert'),
  ('data_key.rotated', 'key', 'notice'),
  ('data_key.resealed', 'key', 'notice'),
  ('revocation.added', 'revocation', 'notice'),
  ('revocation.undone', 'revocation', 'warning'),
  ('audit.tampered', 'system', 'alert'),
  ('audit.pruned', 'system', 'info'),
  ('cleanup.done', 'system', 'info'),
  ('user.registered', 'user', 'notice'),
  ('user.updated', 'user', 'notice'),
  ('user.disabled', 'user', 'warning'),
  ('user.enabled', 'user', 'notice'),
  ('user.removed', 'user', 'notice'),
  ('user.locked', 'user', 'alert'),
  ('user.unlocked', 'user', 'notice'),
  ('credential.added', 'user', 'notice'),
  ('credential.removed', 'user', 'notice'),
  ('credential.changed', 'user', 'notice'),
  ('credential.reset_requested', 'user', 'notice'),
  ('credential.reset', 'user', 'notice'),
  ('credential.suspicious', 'user', 'alert'),
  ('session.started', 'session', 'info'),
  ('session.refused', 'session', 'warning'),
  ('session.ended', 'session', 'info'),
  ('session.revoked', 'session', 'notice');

create table audit_event (
  writer text not null,
  number bigint not null check (number > 0),
  id text not null unique,
  type text not null references audit_type,
  at timestamptz not null,
  actor_kind text not null check (actor_kind in ('operator', 'client', 'user', 'system', 'anonymous')),
  actor text,
  address text,
  request_id text,
  subject text,
  client text,
  tenant text,
  outcome text not null check (outcome in ('success', 'failure')),
  reason text,
  checkpoint bigint not null check (checkpoint >= 0),
  details_digest text check (details_digest ~ '^[0-9a-f]{64}$'),
  sealed bytea,
  previous text not null check (previous ~ '^[0-9a-f]{64}$'),
  hash text not null check (hash ~ '^[0-9a-f]{64}$'),
  primary key (writer, number),
  check ((details_digest is null) = (sealed is null))
);
comment on table audit_event is 'Events; hash covers every column but sealed, and the hash of the event before.';
create index audit_event_at on audit_event (at desc, writer, number);
create index audit_event_type on audit_event (type, at desc);
create index audit_event_actor on audit_event (actor, at desc) where actor is not null;
create index audit_event_subject on audit_event (subject, at desc) where subject is not null;
create index audit_event_client on audit_event (client, at desc) where client is not null;
create index audit_event_tenant on audit_event (tenant, at desc) where tenant is not null;
create index audit_event_request on audit_event (request_id) where request_id is not null;

create table audit_checkpoint (
  number bigint primary key check (number > 0),
  at timestamptz not null,
  key_id text not null,
  statement text not null,
  signature text not null
);
comment on table audit_checkpoint is 'Signed statements: the end of every chain, what retention cut off, the checkpoint before.';

create table audit_key (
  key_id text primary key,
  public_key text not null,
  sealed bytea not null,
  created_at timestamptz not null
);
comment on table audit_key is 'Keys that sign checkpoints; only those that unseal are trusted.';
