-- oldest release: 0.1.0
-- Answers kept by Idempotency-Key, and views that count.
-- Keys stand here by digest; answers are sealed, as they may hold a secret shown once.
create table idempotency_key (
  key_digest text primary key check (key_digest ~ '^[A-Za-z0-9_-]{43}$'),
  request_digest text not null check (request_digest ~ '^[A-Za-z0-9_-]{43}$'),
  created_at timestamptz not null,
  until timestamptz not null,
  sealed bytea
);
comment on table idempotency_key is 'sealed: the answer; null while the call is under way.';
create index idempotency_key_until on idempotency_key (until);

-- Figures for people with psql and for /v1/statistics alike. Names of events come from audit_type, which is the program's own
-- list: a view that spelled one by itself would count nothing and say so to nobody. These views read the server's clock,
-- because who asks them has none to hand in.
create view statistics_client as
  select issuer, tier, case when disabled then 'disabled' else 'enabled' end as state, external, count(*) as clients
  from client where removed_at is null
  group by issuer, tier, disabled, external;
comment on view statistics_client is 'Clients by issuer, tier and state.';

create view statistics_grant as
  select issuer, sum(families)::bigint as families, sum(codes)::bigint as codes
  from (
    select issuer, 1 as families, 0 as codes from token_family where ended_at is null and idle_until > now()
    union all
    select issuer, 0, 1 from authorization_code where redeemed_at is null and expires_at > now()
  ) as live
  group by issuer;
comment on view statistics_grant is 'Live token families, and authorization codes that can be redeemed, by issuer.';

create view statistics_token_day as
  select (at at time zone 'UTC')::date as day, type, outcome, count(*) as events
  from audit_event join audit_type using (type)
  where category = 'token' and at > now() - interval '31 days'
  group by day, type, outcome;
comment on view statistics_token_day is 'Tokens and codes issued, redeemed, refused and revoked, by day in UTC, the last 31 days.';

create view statistics_revocation as
  select kinds.kind, count(entry_id) as active
  from unnest(array['token', 'session', 'family', 'subject', 'client', 'tenant', 'key']) as kinds (kind)
    left join revocation
      on revocation.kind = kinds.kind and undone_at is null and (until is null or until > now())
  group by kinds.kind;
comment on view statistics_revocation is 'Revocations in force by kind.';

create view statistics_signing_key as
  select issuer, state, count(*) as keys from signing_key group by issuer, state;
comment on view statistics_signing_key is 'Our signing keys by issuer and state.';

create view statistics_operator as
  select role, case when expires_at <= now() then 'expired' else 'active' end as state, count(*) as operators
  from operator group by 1, 2;
comment on view statistics_operator is 'Operators by role and state.';

create view statistics_audit as
  select type, category, severity, outcome, count(audit_event.id) as events, max(at) as last_at
  from audit_type
    cross join (values ('success'), ('failure')) as outcomes (outcome)
    left join audit_event using (type, outcome)
  group by type, category, severity, outcome;
comment on view statistics_audit is 'Audit events by type and outcome; every type there is has its rows.';
