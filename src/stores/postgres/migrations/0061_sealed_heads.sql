-- oldest release: 0.1.0
-- Bytes 2 to 17 of a sealed field name its data key. With these indexes the fields under other keys than the active one are
-- found, and counted, without reading the others; and whether any field still rests on a key.
create index signing_key_data_key on signing_key (substring(private_key from 2 for 16)) where private_key is not null;
create index audit_event_data_key on audit_event (substring(sealed from 2 for 16)) where sealed is not null;
create index audit_key_data_key on audit_key (substring(sealed from 2 for 16));
create index authorization_code_data_key on authorization_code (substring(sealed from 2 for 16));
create index token_family_data_key on token_family (substring(sealed from 2 for 16));
create index idempotency_key_data_key on idempotency_key (substring(sealed from 2 for 16)) where sealed is not null;
create index webauthn_credential_public_key_data_key on webauthn_credential (substring(public_key from 2 for 16));
create index webauthn_credential_aaguid_data_key on webauthn_credential (substring(aaguid from 2 for 16))
  where aaguid is not null;
