-- oldest release: 0.1.0
-- Operators of the admin plane. Tokens are kept as SHA-256 digests of 256 random bits and can be read nowhere.
create table operator (
  id text primary key,
  name text not null constraint operator_name unique,
  token_digest text constraint operator_token unique check (token_digest ~ '^[0-9a-f]{64}$'),
  token_prefix text,
  certificate text constraint operator_certificate unique,
  role text check (role in ('viewer', 'editor', 'admin')),
  permissions text[] not null,
  created_at timestamptz not null,
  created_by text not null,
  expires_at timestamptz,
  last_used_at timestamptz,
  check (token_digest is not null or certificate is not null)
);
comment on table operator is 'Who may call the admin plane, by token or client certificate; removed rows are refused at once.';
