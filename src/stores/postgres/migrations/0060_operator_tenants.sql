-- oldest release: 0.1.0
-- Operators bound to one tenant. What such a one may do stands in columns of its own: a release that does not know them sees
-- an operator without any permission, and never one who may do the same everywhere.
alter table operator
  add column tenant text check (tenant <> ''),
  add column tenant_role text check (tenant_role in ('viewer', 'editor', 'admin')),
  add column tenant_permissions text[],
  add constraint operator_bound check (
    case when tenant is null then tenant_role is null and tenant_permissions is null
    else role is null and cardinality(permissions) = 0 and tenant_permissions is not null end);
comment on column operator.tenant is 'The one tenant whose rows the operator reaches; null: everything.';
create index operator_newest on operator (created_at desc, id);
create index client_tenant on client (tenant, created_at desc, issuer, client_id) where tenant is not null;

create or replace view statistics_operator as
  select coalesce(role, tenant_role) as role,
    case when expires_at <= now() then 'expired' else 'active' end as state, count(*) as operators
  from operator group by 1, 2;
