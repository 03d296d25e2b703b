table audit_checkpoint
  number bigint not null
  at timestamp with time zone not null
  key_id text not null
  statement text not null
  signature text not null
  constraint audit_checkpoint_number_check CHECK ((number > 0))
  constraint audit_checkpoint_pkey PRIMARY KEY (number)
  comment: Signed statements: the end of every chain, what retention cut off, the checkpoint before.
table audit_event
  writer text not null
  number bigint not null
  id text not null
  type text not null
  at timestamp with time zone not null
  actor_kind text not null
  actor text
  address text
  request_id text
  subject text
  client text
  tenant text
  outcome text not null
  reason text
  checkpoint bigint not null
  details_digest text
  sealed bytea
  previous text not null
  hash text not null
  constraint audit_event_actor_kind_check CHECK ((actor_kind = ANY (ARRAY['operator'::text, 'client'::text, 'user'::text, 'system'::text, 'anonymous'::text])))
  constraint audit_event_check CHECK (((details_digest IS NULL) = (sealed IS NULL)))
  constraint audit_event_checkpoint_check CHECK ((checkpoint >= 0))
  constraint audit_event_details_digest_check CHECK ((details_digest ~ '^[0-9a-f]{64}$'::text))
  constraint audit_event_hash_check CHECK ((hash ~ '^[0-9a-f]{64}$'::text))
  constraint audit_event_id_key UNIQUE (id)
  constraint audit_event_number_check CHECK ((number > 0))
  constraint audit_event_outcome_check CHECK ((outcome = ANY (ARRAY['success'::text, 'failure'::text])))
  constraint audit_event_pkey PRIMARY KEY (writer, number)
  constraint audit_event_previous_check CHECK ((previous ~ '^[0-9a-f]{64}$'::text))
  constraint audit_event_type_fkey FOREIGN KEY (type) REFERENCES audit_type(type)
  CREATE INDEX audit_event_actor ON doorward.audit_event USING btree (actor, at DESC) WHERE (actor IS NOT NULL)
  CREATE INDEX audit_event_at ON doorward.audit_event USING btree (at DESC, writer, number)
  CREATE INDEX audit_event_client ON doorward.audit_event USING btree (client, at DESC) WHERE (client IS NOT NULL)
  CREATE INDEX audit_event_data_key ON doorward.audit_event USING btree (SUBSTRING(sealed FROM 2 FOR 16)) WHERE (sealed IS NOT NULL)
  CREATE INDEX audit_event_request ON doorward.audit_event USING btree (request_id) WHERE (request_id IS NOT NULL)
  CREATE INDEX audit_event_subject ON doorward.audit_event USING btree (subject, at DESC) WHERE (subject IS NOT NULL)
  CREATE INDEX audit_event_tenant ON doorward.audit_event USING btree (tenant, at DESC) WHERE (tenant IS NOT NULL)
  CREATE INDEX audit_event_type ON doorward.audit_event USING btree (type, at DESC)
  comment: Events; hash covers every column but sealed, and the hash of the event before.
table audit_key
  key_id text not null
  public_key text not null
  sealed bytea not null
  created_at timestamp with time zone not null
  constraint audit_key_pkey PRIMARY KEY (key_id)
  CREATE INDEX audit_key_data_key ON doorward.audit_key USING btree (SUBSTRING(sealed FROM 2 FOR 16))
  comment: Keys that sign checkpoints; only those that unseal are trusted.
table audit_type
  type text not null
  category text not null
  severity text not null
  constraint audit_type_pkey PRIMARY KEY (type)
  constraint audit_type_severity_check CHECK ((severity = ANY (ARRAY['info'::text, 'notice'::text, 'warning'::text, 'alert'::text])))
  comment: Every type of event; the same list as src/core/audit-types.ts, compared by a test.
table authorization_code
  code_digest text not null
  issuer text not null
  client text not null
  subject text not null
  session text
  tenant text
  scopes text[] not null
  audience text[] not null
  redirect_uri text not null
  code_challenge text not null
  created_at timestamp with time zone not null
  expires_at timestamp with time zone not null
  redeemed_at timestamp with time zone
  family_id text
  sealed bytea not null
  constraint authorization_code_check CHECK (((redeemed_at IS NULL) = (family_id IS NULL)))
  constraint authorization_code_code_challenge_check CHECK ((code_challenge ~ '^[A-Za-z0-9_-]{43}$'::text))
  constraint authorization_code_code_digest_check CHECK ((code_digest ~ '^[A-Za-z0-9_-]{43}$'::text))
  constraint authorization_code_pkey PRIMARY KEY (code_digest)
  CREATE INDEX authorization_code_data_key ON doorward.authorization_code USING btree (SUBSTRING(sealed FROM 2 FOR 16))
  CREATE INDEX authorization_code_expires ON doorward.authorization_code USING btree (expires_at)
  CREATE INDEX authorization_code_unspent ON doorward.authorization_code USING btree (issuer, client) WHERE (redeemed_at IS NULL)
  comment: Single use. sealed: what the application said about the person.
table client
  issuer text not null
  client_id text not null
  external boolean not null
  name text not null
  type text not null
  grant_types text[] not null
  response_types text[] not null
  auth_method text not null
  jwks jsonb
  jwks_uri text
  redirect_uris text[] not null
  scopes text[] not null
  tier text
  limits jsonb not null
  tenant text
  audience text[] not null
  disabled boolean not null
  registered_by text not null
  registration_token text
  created_at timestamp with time zone not null
  updated_at timestamp with time zone not null
  version bigint not null  -- Grows with every change of the pair, over removal and new creation too.
  published_version bigint not null default 0  -- The version that replicas were told of last.
  removed_at timestamp with time zone
  constraint client_auth_method_check CHECK ((auth_method = ANY (ARRAY['client_secret_basic'::text, 'client_secret_post'::text, 'private_key_jwt'::text, 'none'::text])))
  constraint client_check CHECK (((auth_method = 'none'::text) = (type = 'public'::text)))
  constraint client_check1 CHECK (((jwks IS NULL) OR (jwks_uri IS NULL)))
  constraint client_check2 CHECK (((NOT external) OR ((cardinality(grant_types) = 0) AND (registration_token IS NULL))))
  constraint client_pkey PRIMARY KEY (issuer, client_id)
  constraint client_registered_by_check CHECK ((registered_by = ANY (ARRAY['operator'::text, 'registration'::text])))
  constraint client_registration_token UNIQUE (registration_token)
  constraint client_registration_token_check CHECK ((registration_token ~ '^[0-9a-f]{64}$'::text))
  constraint client_type_check CHECK ((type = ANY (ARRAY['confidential'::text, 'public'::text])))
  constraint client_version_check CHECK ((version > 0))
  CREATE INDEX client_by_id ON doorward.client USING btree (client_id) WHERE (removed_at IS NULL)
  CREATE INDEX client_newest ON doorward.client USING btree (created_at DESC, issuer, client_id) WHERE (removed_at IS NULL)
  CREATE INDEX client_tenant ON doorward.client USING btree (tenant, created_at DESC, issuer, client_id) WHERE (tenant IS NOT NULL)
  CREATE INDEX client_unpublished ON doorward.client USING btree (updated_at) WHERE (published_version < version)
  CREATE INDEX client_updated ON doorward.client USING btree (updated_at)
table client_secret
  id text not null
  issuer text not null
  client_id text not null
  digest text not null
  prefix text not null
  created_at timestamp with time zone not null
  expires_at timestamp with time zone
  last_used_at timestamp with time zone
  constraint client_secret_digest UNIQUE (digest)
  constraint client_secret_digest_check CHECK ((digest ~ '^[0-9a-f]{64}$'::text))
  constraint client_secret_issuer_client_id_fkey FOREIGN KEY (issuer, client_id) REFERENCES client(issuer, client_id) ON DELETE CASCADE
  constraint client_secret_pkey PRIMARY KEY (id)
  CREATE INDEX client_secret_client ON doorward.client_secret USING btree (client_id, issuer)
table data_key
  data_key_id text not null
  kek_id text not null
  wrapped bytea not null
  state text not null
  created_at timestamp with time zone not null
  retired_at timestamp with time zone
  seals bigint not null default 0
  constraint data_key_check CHECK (((state = 'retired'::text) = (retired_at IS NOT NULL)))
  constraint data_key_data_key_id_check CHECK ((data_key_id ~ '^dk[A-Za-z0-9_-]{22}$'::text))
  constraint data_key_pkey PRIMARY KEY (data_key_id)
  constraint data_key_seals_check CHECK ((seals >= 0))
  constraint data_key_state_check CHECK ((state = ANY (ARRAY['active'::text, 'retired'::text])))
  CREATE UNIQUE INDEX data_key_one_active ON doorward.data_key USING btree ((true)) WHERE (state = 'active'::text)
  comment: Keys that fields are sealed under; the first 17 bytes of a sealed field name its key.
table idempotency_key
  key_digest text not null
  request_digest text not null
  created_at timestamp with time zone not null
  until timestamp with time zone not null
  sealed bytea
  constraint idempotency_key_key_digest_check CHECK ((key_digest ~ '^[A-Za-z0-9_-]{43}$'::text))
  constraint idempotency_key_pkey PRIMARY KEY (key_digest)
  constraint idempotency_key_request_digest_check CHECK ((request_digest ~ '^[A-Za-z0-9_-]{43}$'::text))
  CREATE INDEX idempotency_key_data_key ON doorward.idempotency_key USING btree (SUBSTRING(sealed FROM 2 FOR 16)) WHERE (sealed IS NOT NULL)
  CREATE INDEX idempotency_key_until ON doorward.idempotency_key USING btree (until)
  comment: sealed: the answer; null while the call is under way.
table initial_access_token
  id text not null
  digest text not null
  uses_left integer not null
  created_at timestamp with time zone not null
  created_by text not null
  expires_at timestamp with time zone not null
  constraint initial_access_token_digest UNIQUE (digest)
  constraint initial_access_token_digest_check CHECK ((digest ~ '^[0-9a-f]{64}$'::text))
  constraint initial_access_token_pkey PRIMARY KEY (id)
  constraint initial_access_token_uses_left_check CHECK ((uses_left >= 0))
  comment: RFC 7591: whoever bears one may register a client, uses_left times.
table migration
  number integer not null
  name text not null
  checksum text not null
  release text not null
  oldest_release text not null
  applied_at timestamp with time zone not null
  constraint migration_number_check CHECK ((number > 0))
  constraint migration_pkey PRIMARY KEY (number)
  comment: One row per applied migration; oldest_release is the oldest program that may run on it.
table operator
  id text not null
  name text not null
  token_digest text
  token_prefix text
  certificate text
  role text
  permissions text[] not null
  created_at timestamp with time zone not null
  created_by text not null
  expires_at timestamp with time zone
  last_used_at timestamp with time zone
  tenant text  -- The one tenant whose rows the operator reaches; null: everything.
  tenant_role text
  tenant_permissions text[]
  constraint operator_bound CHECK (
CASE
    WHEN (tenant IS NULL) THEN ((tenant_role IS NULL) AND (tenant_permissions IS NULL))
    ELSE ((role IS NULL) AND (cardinality(permissions) = 0) AND (tenant_permissions IS NOT NULL))
END)
  constraint operator_certificate UNIQUE (certificate)
  constraint operator_check CHECK (((token_digest IS NOT NULL) OR (certificate IS NOT NULL)))
  constraint operator_name UNIQUE (name)
  constraint operator_pkey PRIMARY KEY (id)
  constraint operator_role_check CHECK ((role = ANY (ARRAY['viewer'::text, 'editor'::text, 'admin'::text])))
  constraint operator_tenant_check CHECK ((tenant <> ''::text))
  constraint operator_tenant_role_check CHECK ((tenant_role = ANY (ARRAY['viewer'::text, 'editor'::text, 'admin'::text])))
  constraint operator_token UNIQUE (token_digest)
  constraint operator_token_digest_check CHECK ((token_digest ~ '^[0-9a-f]{64}$'::text))
  CREATE INDEX operator_newest ON doorward.operator USING btree (created_at DESC, id)
  comment: Who may call the admin plane, by token or client certificate; removed rows are refused at once.
table revocation
  entry_id text not null
  kind text not null
  issuer text not null
  revoked_id text not null
  reason text not null
  until timestamp with time zone  -- Null: for ever.
  not_before timestamp with time zone
  revoked_at timestamp with time zone not null
  logged_at timestamp with time zone  -- When the shared log took it, in its own time; null: not yet.
  undone_at timestamp with time zone
  unsent boolean not null default true  -- True until the shared log was told of the last change.
  constraint revocation_check CHECK (((until IS NOT NULL) OR (kind = ANY (ARRAY['subject'::text, 'client'::text, 'tenant'::text, 'key'::text]))))
  constraint revocation_kind_check CHECK ((kind = ANY (ARRAY['token'::text, 'session'::text, 'family'::text, 'subject'::text, 'client'::text, 'tenant'::text, 'key'::text])))
  constraint revocation_pkey PRIMARY KEY (entry_id)
  CREATE INDEX revocation_undone ON doorward.revocation USING btree (undone_at) WHERE (undone_at IS NOT NULL)
  CREATE INDEX revocation_unsent ON doorward.revocation USING btree (COALESCE(undone_at, revoked_at)) WHERE unsent
  CREATE INDEX revocation_until ON doorward.revocation USING btree (until) WHERE (until IS NOT NULL)
table sealing
  only_row boolean not null default true
  kek_id text not null
  kek_check bytea not null
  constraint sealing_only_row_check CHECK (only_row)
  constraint sealing_pkey PRIMARY KEY (only_row)
  comment: One row: a known text under the key-encryption key in force, compared before anything is touched.
table signing_key
  issuer text not null
  kid text not null
  algorithm text not null
  public_jwk jsonb not null
  private_key bytea
  state text not null
  created_at timestamp with time zone not null
  activate_at timestamp with time zone not null
  retire_at timestamp with time zone
  ended_at timestamp with time zone
  constraint signing_key_algorithm_check CHECK ((algorithm = ANY (ARRAY['ES256'::text, 'RS256'::text, 'EdDSA'::text])))
  constraint signing_key_check CHECK (((private_key IS NULL) = (state = ANY (ARRAY['retired'::text, 'banned'::text]))))
  constraint signing_key_check1 CHECK (((ended_at IS NOT NULL) = (state = ANY (ARRAY['retired'::text, 'banned'::text]))))
  constraint signing_key_check2 CHECK (((state <> 'retiring'::text) OR (retire_at IS NOT NULL)))
  constraint signing_key_issuer_check CHECK ((issuer <> ''::text))
  constraint signing_key_kid_check CHECK ((kid ~ '^[A-Za-z0-9_-]{43}$'::text))
  constraint signing_key_pkey PRIMARY KEY (issuer, kid)
  constraint signing_key_public_jwk_check CHECK ((NOT (public_jwk ?| ARRAY['d'::text, 'p'::text, 'q'::text, 'dp'::text, 'dq'::text, 'qi'::text, 'oth'::text, 'k'::text])))
  constraint signing_key_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'active'::text, 'retiring'::text, 'retired'::text, 'banned'::text])))
  CREATE INDEX signing_key_data_key ON doorward.signing_key USING btree (SUBSTRING(private_key FROM 2 FOR 16)) WHERE (private_key IS NOT NULL)
  CREATE UNIQUE INDEX signing_key_one_active ON doorward.signing_key USING btree (issuer) WHERE (state = 'active'::text)
  comment: private_key: PKCS8 DER, sealed; deleted when the key ends.
table signing_key_revision
  issuer text not null
  revision bigint not null
  constraint signing_key_revision_pkey PRIMARY KEY (issuer)
  constraint signing_key_revision_revision_check CHECK ((revision > 0))
  comment: Orders what is published of the keys of an issuer; never below the time of the change in ms.
view statistics_audit
  type text
  category text
  severity text
  outcome text
  events bigint
  last_at timestamp with time zone
  comment: Audit events by type and outcome; every type there is has its rows.
view statistics_client
  issuer text
  tier text
  state text
  external boolean
  clients bigint
  comment: Clients by issuer, tier and state.
view statistics_grant
  issuer text
  families bigint
  codes bigint
  comment: Live token families, and authorization codes that can be redeemed, by issuer.
view statistics_operator
  role text
  state text
  operators bigint
  comment: Operators by role and state.
view statistics_revocation
  kind text
  active bigint
  comment: Revocations in force by kind.
view statistics_signing_key
  issuer text
  state text
  keys bigint
  comment: Our signing keys by issuer and state.
view statistics_token_day
  day date
  type text
  outcome text
  events bigint
  comment: Tokens and codes issued, redeemed, refused and revoked, by day in UTC, the last 31 days.
view statistics_webauthn_credential
  tenant text
  data_key text
  credentials bigint
  comment: WebAuthn credentials by tenant and by the data key they are sealed under.
table token_family
  family_id text not null
  issuer text not null
  client text not null
  subject text not null
  session text
  tenant text
  scopes text[] not null
  audience text[] not null
  created_at timestamp with time zone not null
  expires_at timestamp with time zone not null
  idle_until timestamp with time zone not null
  refreshable boolean not null
  counter integer not null default 0  -- Number of the refresh token that may be redeemed next.
  rotated_at timestamp with time zone
  ended_at timestamp with time zone
  end_reason text
  sealed bytea not null  -- The secret that refresh tokens derive from, and what is known about the person.
  constraint token_family_check CHECK ((idle_until <= expires_at))
  constraint token_family_check1 CHECK (((counter > 0) = (rotated_at IS NOT NULL)))
  constraint token_family_check2 CHECK (((ended_at IS NULL) = (end_reason IS NULL)))
  constraint token_family_counter_check CHECK ((counter >= 0))
  constraint token_family_end_reason_check CHECK ((end_reason = ANY (ARRAY['reuse'::text, 'code_reuse'::text, 'revoked'::text, 'client'::text, 'operator'::text])))
  constraint token_family_family_id_check CHECK ((family_id ~ '^f_[A-Za-z0-9_-]{22}$'::text))
  constraint token_family_pkey PRIMARY KEY (family_id)
  CREATE INDEX token_family_client ON doorward.token_family USING btree (issuer, client, created_at) WHERE (ended_at IS NULL)
  CREATE INDEX token_family_data_key ON doorward.token_family USING btree (SUBSTRING(sealed FROM 2 FOR 16))
  CREATE INDEX token_family_idle ON doorward.token_family USING btree (idle_until)
  CREATE INDEX token_family_newest ON doorward.token_family USING btree (created_at, family_id) WHERE (ended_at IS NULL)
  CREATE INDEX token_family_session ON doorward.token_family USING btree (issuer, session) WHERE ((ended_at IS NULL) AND (session IS NOT NULL))
  CREATE INDEX token_family_subject ON doorward.token_family USING btree (issuer, subject, created_at) WHERE (ended_at IS NULL)
  CREATE INDEX token_family_tenant ON doorward.token_family USING btree (issuer, tenant) WHERE ((ended_at IS NULL) AND (tenant IS NOT NULL))
table used_value
  value_digest text not null
  until timestamp with time zone not null
  constraint used_value_pkey PRIMARY KEY (value_digest)
  constraint used_value_value_digest_check CHECK ((value_digest ~ '^[A-Za-z0-9_-]{43}$'::text))
  CREATE INDEX used_value_until ON doorward.used_value USING btree (until)
  comment: One-time values, such as the jti of client assertions, by digest until they expire.
table webauthn_credential
  tenant text
  user_id text not null
  credential_id text not null
  public_key bytea not null
  public_key_data_key text not null generated ('dk'::text || rtrim(translate(encode(SUBSTRING(public_key FROM 2 FOR 16), 'base64'::text), '+/'::text, '-_'::text), '='::text))  -- Data key that public_key is sealed under.
  aaguid bytea
  aaguid_data_key text generated ('dk'::text || rtrim(translate(encode(SUBSTRING(aaguid FROM 2 FOR 16), 'base64'::text), '+/'::text, '-_'::text), '='::text))  -- Data key that aaguid is sealed under.
  sign_count bigint not null
  transports text[] not null
  created_at timestamp with time zone not null
  last_used_at timestamp with time zone
  constraint webauthn_credential_credential_id_check CHECK (((credential_id ~ '^[A-Za-z0-9_-]+$'::text) AND ((length(credential_id) >= 2) AND (length(credential_id) <= 1364))))
  constraint webauthn_credential_once UNIQUE (credential_id)
  constraint webauthn_credential_pkey PRIMARY KEY (user_id, credential_id)
  constraint webauthn_credential_sign_count_check CHECK (((sign_count >= 0) AND (sign_count <= '4294967295'::bigint)))
  constraint webauthn_credential_tenant_check CHECK ((tenant <> ''::text))
  constraint webauthn_credential_transports_check CHECK ((cardinality(transports) <= 16))
  constraint webauthn_credential_user_id_check CHECK (((octet_length(user_id) >= 1) AND (octet_length(user_id) <= 512)))
  CREATE INDEX webauthn_credential_aaguid_data_key ON doorward.webauthn_credential USING btree (SUBSTRING(aaguid FROM 2 FOR 16)) WHERE (aaguid IS NOT NULL)
  CREATE INDEX webauthn_credential_public_key_data_key ON doorward.webauthn_credential USING btree (SUBSTRING(public_key FROM 2 FOR 16))
  comment: public_key, aaguid: sealed. credential_id: base64url, one owner over all tenants.
