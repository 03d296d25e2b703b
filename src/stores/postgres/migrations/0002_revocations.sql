-- oldest release: 0.1.0
-- The durable copy of the revocation log. Order and numbers are the shared log's: a number given here would become visible
-- out of order when transactions commit in another order than they began.
create table revocation (
  entry_id text primary key,
  kind text not null check (kind in ('token', 'session', 'family', 'subject', 'client', 'tenant', 'key')),
  issuer text not null,
  revoked_id text not null,
  reason text not null,
  until timestamptz,
  not_before timestamptz,
  revoked_at timestamptz not null,
  logged_at timestamptz,
  undone_at timestamptz,
  unsent boolean not null default true,
  check (until is not null or kind in ('subject', 'client', 'tenant', 'key'))
);
comment on column revocation.until is 'Null: for ever.';
comment on column revocation.logged_at is 'When the shared log took it, in its own time; null: not yet.';
comment on column revocation.unsent is 'True until the shared log was told of the last change.';
create index revocation_unsent on revocation (coalesce(undone_at, revoked_at)) where unsent;
create index revocation_until on revocation (until) where until is not null;
create index revocation_undone on revocation (undone_at) where undone_at is not null;
