-- oldest release: 0.1.0
-- Clients by (iss, client id). Secrets and tokens are kept as SHA-256 digests of 256 random bits. A removed client leaves a
-- row with removed_at, so that replicas that were away learn of it and no old notice is ever taken for a newer one.
create table client (
  issuer text not null,
  client_id text not null,
  external boolean not null,
  name text not null,
  type text not null check (type in ('confidential', 'public')),
  grant_types text[] not null,
  response_types text[] not null,
  auth_method text not null check (auth_method in ('client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none')),
  jwks jsonb,
  jwks_uri text,
  redirect_uris text[] not null,
  scopes text[] not null,
  tier text,
  limits jsonb not null,
  tenant text,
  audience text[] not null,
  disabled boolean not null,
  registered_by text not null check (registered_by in ('operator', 'registration')),
  registration_token text constraint client_registration_token unique check (registration_token ~ '^[0-9a-f]{64}$'),
  created_at timestamptz not null,
  updated_at timestamptz not null,
  version bigint not null check (version > 0),
  published_version bigint not null default 0,
  removed_at timestamptz,
  primary key (issuer, client_id),
  check ((auth_method = 'none') = (type = 'public')),
  check (jwks is null or jwks_uri is null),
  check (not external or (cardinality(grant_types) = 0 and registration_token is null))
);
comment on column client.version is 'Grows with every change of the pair, over removal and new creation too.';
comment on column client.published_version is 'The version that replicas were told of last.';
create index client_newest on client (created_at desc, issuer, client_id) where removed_at is null;
create index client_by_id on client (client_id) where removed_at is null;
create index client_updated on client (updated_at);
create index client_unpublished on client (updated_at) where published_version < version;

create table client_secret (
  id text primary key,
  issuer text not null,
  client_id text not null,
  digest text not null constraint client_secret_digest unique check (digest ~ '^[0-9a-f]{64}$'),
  prefix text not null,
  created_at timestamptz not null,
  expires_at timestamptz,
  last_used_at timestamptz,
  foreign key (issuer, client_id) references client on delete cascade
);
create index client_secret_client on client_secret (client_id, issuer);

create table initial_access_token (
  id text primary key,
  digest text not null constraint initial_access_token_digest unique check (digest ~ '^[0-9a-f]{64}$'),
  uses_left integer not null check (uses_left >= 0),
  created_at timestamptz not null,
  created_by text not null,
  expires_at timestamptz not null
);
comment on table initial_access_token is 'RFC 7591: whoever bears one may register a client, uses_left times.';
