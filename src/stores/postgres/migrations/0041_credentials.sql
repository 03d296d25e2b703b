-- oldest release: 0.1.0
-- WebAuthn credentials. Public key and AAGUID are sealed for their user, so that no row works under another user's name.
create table webauthn_credential (
  tenant text check (tenant <> ''),
  user_id text not null check (octet_length(user_id) between 1 and 512),
  credential_id text not null constraint webauthn_credential_once unique
    check (credential_id ~ '^[A-Za-z0-9_-]+$' and length(credential_id) between 2 and 1364),
  public_key bytea not null,
  public_key_data_key text not null generated always as
    ('dk' || rtrim(translate(encode(substring(public_key from 2 for 16), 'base64'), '+/', '-_'), '=')) stored,
  aaguid bytea,
  aaguid_data_key text generated always as
    ('dk' || rtrim(translate(encode(substring(aaguid from 2 for 16), 'base64'), '+/', '-_'), '=')) stored,
  sign_count bigint not null check (sign_count between 0 and 4294967295),
  transports text[] not null check (cardinality(transports) <= 16),
  created_at timestamptz not null,
  last_used_at timestamptz,
  primary key (user_id, credential_id)
);
comment on table webauthn_credential is 'public_key, aaguid: sealed. credential_id: base64url, one owner over all tenants.';
comment on column webauthn_credential.public_key_data_key is 'Data key that public_key is sealed under.';
comment on column webauthn_credential.aaguid_data_key is 'Data key that aaguid is sealed under.';

create view statistics_webauthn_credential as
  select tenant, public_key_data_key as data_key, count(*) as credentials
  from webauthn_credential group by tenant, public_key_data_key;
comment on view statistics_webauthn_credential is 'WebAuthn credentials by tenant and by the data key they are sealed under.';
