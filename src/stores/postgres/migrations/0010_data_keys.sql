-- oldest release: 0.1.0
-- Data keys, wrapped by the key-encryption key, and the proof of which one that is.
create table sealing (
  only_row boolean primary key default true check (only_row),
  kek_id text not null,
  kek_check bytea not null
);
comment on table sealing is 'One row: a known text under the key-encryption key in force, compared before anything is touched.';

create table data_key (
  data_key_id text primary key check (data_key_id ~ '^dk[A-Za-z0-9_-]{22}$'),
  kek_id text not null,
  wrapped bytea not null,
  state text not null check (state in ('active', 'retired')),
  created_at timestamptz not null,
  retired_at timestamptz,
  seals bigint not null default 0 check (seals >= 0),
  check ((state = 'retired') = (retired_at is not null))
);
comment on table data_key is 'Keys that fields are sealed under; the first 17 bytes of a sealed field name its key.';
create unique index data_key_one_active on data_key ((true)) where state = 'active';
