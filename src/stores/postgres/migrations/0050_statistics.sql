-- oldest release: 0.1.0
-- Answers kept by Idempotency-Key. Keys stand here by digest; answers are sealed, as they may hold a secret shown once.
create table idempotency_key (
  key_digest text primary key check (key_digest ~ '^[A-Za-z0-9_-]{43}$'),
  request_digest text not null check (request_digest ~ '^[A-Za-z0-9_-]{43}$'),
  created_at timestamptz not null,
  until timestamptz not null,
  sealed bytea
);
comment on table idempotency_key is 'sealed: the answer; null while the call is under way.';
create index idempotency_key_until on idempotency_key (until);
