-- oldest release: 0.1.0
-- Which migrations this schema has seen, and which releases may run on it.
create table migration (
  number integer primary key check (number > 0),
  name text not null,
  checksum text not null,
  release text not null,
  oldest_release text not null,
  applied_at timestamptz not null
);
comment on table migration is 'One row per applied migration; oldest_release is the oldest program that may run on it.';
