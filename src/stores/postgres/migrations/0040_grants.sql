-- oldest release: 0.1.0
-- Authorization codes and token families. No code and no refresh token stands here: codes by digest, refresh tokens by the
-- sealed secret of their family and a count.
create table authorization_code (
  code_digest text primary key check (code_digest ~ '^[A-Za-z0-9_-]{43}$'),
  issuer text not null,
  client text not null,
  subject text not null,
  session text,
  tenant text,
  scopes text[] not null,
  audience text[] not null,
  redirect_uri text not null,
  code_challenge text not null check (code_challenge ~ '^[A-Za-z0-9_-]{43}$'),
  created_at timestamptz not null,
  expires_at timestamptz not null,
  redeemed_at timestamptz,
  family_id text,
  sealed bytea not null,
  check ((redeemed_at is null) = (family_id is null))
);
comment on table authorization_code is 'Single use. sealed: what the application said about the person.';
create index authorization_code_expires on authorization_code (expires_at);
create index authorization_code_unspent on authorization_code (issuer, client) where redeemed_at is null;

create table token_family (
  family_id text primary key check (family_id ~ '^f_[A-Za-z0-9_-]{22}$'),
  issuer text not null,
  client text not null,
  subject text not null,
  session text,
  tenant text,
  scopes text[] not null,
  audience text[] not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  idle_until timestamptz not null,
  refreshable boolean not null,
  counter integer not null default 0 check (counter >= 0),
  rotated_at timestamptz,
  ended_at timestamptz,
  end_reason text check (end_reason in ('reuse', 'code_reuse', 'revoked', 'client', 'operator')),
  sealed bytea not null,
  check (idle_until <= expires_at),
  check ((counter > 0) = (rotated_at is not null)),
  check ((ended_at is null) = (end_reason is null))
);
comment on column token_family.counter is 'Number of the refresh token that may be redeemed next.';
comment on column token_family.sealed is 'The secret that refresh tokens derive from, and what is known about the person.';
create index token_family_subject on token_family (issuer, subject, created_at) where ended_at is null;
create index token_family_client on token_family (issuer, client, created_at) where ended_at is null;
create index token_family_session on token_family (issuer, session) where ended_at is null and session is not null;
create index token_family_tenant on token_family (issuer, tenant) where ended_at is null and tenant is not null;
create index token_family_newest on token_family (created_at, family_id) where ended_at is null;
create index token_family_idle on token_family (idle_until);

create table used_value (
  value_digest text primary key check (value_digest ~ '^[A-Za-z0-9_-]{43}$'),
  until timestamptz not null
);
comment on table used_value is 'One-time values, such as the jti of client assertions, by digest until they expire.';
create index used_value_until on used_value (until);
