-- oldest release: 0.1.0
-- Signing keys of our own issuers. A key without private part can sign no more.
create table signing_key (
  issuer text not null check (issuer <> ''),
  kid text not null check (kid ~ '^[A-Za-z0-9_-]{43}$'),
  algorithm text not null check (algorithm in ('ES256', 'RS256', 'EdDSA')),
  public_jwk jsonb not null check (not public_jwk ?| array['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']),
  private_key bytea,
  state text not null check (state in ('pending', 'active', 'retiring', 'retired', 'banned')),
  created_at timestamptz not null,
  activate_at timestamptz not null,
  retire_at timestamptz,
  ended_at timestamptz,
  primary key (issuer, kid),
  check ((private_key is null) = (state in ('retired', 'banned'))),
  check ((ended_at is not null) = (state in ('retired', 'banned'))),
  check (state <> 'retiring' or retire_at is not null)
);
comment on table signing_key is 'private_key: PKCS8 DER, sealed; deleted when the key ends.';
create unique index signing_key_one_active on signing_key (issuer) where state = 'active';

create table signing_key_revision (
  issuer text primary key,
  revision bigint not null check (revision > 0)
);
comment on table signing_key_revision is 'Orders what is published of the keys of an issuer; never below the time of the change in ms.';
