// Clients for operators: register, list, show, replace, change, remove. Clients of our own issuers get secrets; of those of
// foreign issuers we keep what limits need to know.
import { z } from 'zod';
import { externalClient, ownClient, propertiesOf } from '../clients/record.ts';
import { newClientSecret } from '../clients/secrets.ts';
import type { AuditType } from '../core/audit-types.ts';
import { SidecarError } from '../core/errors.ts';
import { parseDuration } from '../core/units.ts';
import type { Client, ClientPlace, ClientProperties, NewClient } from '../stores/contracts/clients.ts';
import {
  announced,
  clientDeskOf,
  clientNamed,
  expectedVersion,
  issOf,
  issuerNamed,
  issuerQuery,
  removalNotice,
  requireSound,
  settled,
} from './client-lookup.ts';
import {
  changedClientShape,
  changedFields,
  clientFields,
  clientShape,
  draftOf,
  dryRunQuery,
  externalFields,
  judgedShape,
  newClientFields,
  patched,
  shownClient,
} from './client-shapes.ts';
import type { AdminDependencies, AdminIssuer } from './dependencies.ts';
import { type AdminAnswer, type AdminCall, endpoint, FieldsError } from './endpoint.ts';
import { pageQuery } from './pages.ts';
import { pageShape } from './shapes.ts';
import { refuseFields, refusePrivateKeys, requireOwnTenant } from './tenant.ts';

const OWN_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{2,63}$/;
const EXTERNAL_ID = /^[^\p{Cc}]{1,255}$/u;
/** Segments under /v1/clients that are no ids. */
const RESERVED_IDS = new Set(['initial-access-tokens']);
/** What a tenant pays for. */
const COMMERCIAL = ['tier', 'limits'];
const CHANGE_REFUSALS = ['not_configured', 'client_ambiguous', 'precondition_failed'] as const;

/** POST /v1/clients: 201 with the secret, which is shown nowhere else; 200 for a dry run. */
export const addClient = endpoint({
  method: 'POST',
  path: '/v1/clients',
  permission: 'clients:write',
  reach: 'tenant',
  event: 'client.registered',
  query: z.strictObject(dryRunQuery),
  body: newClientFields,
  answers: { 201: changedClientShape.extend({ client_secret: z.string().optional() }), 200: judgedShape },
  refusals: ['not_configured', 'client_exists'],
  summary: 'Register a client; its secret is shown once. With dry_run=true it is judged only.',
  handler: async (dependencies, { body, query, operator }) => {
    refuseFields({ operator }, body, ['client_id', ...COMMERCIAL]);
    refusePrivateKeys({ operator }, body.jwks_uri);
    const desk = clientDeskOf(dependencies);
    const issuer = issuerNamed(dependencies, body.issuer);
    const { client, secret } = newClientOf(dependencies, issuer, body);
    requireSound(dependencies, client);
    if (query.dry_run === 'true') {
      requireOwnTenant({ operator }, client);
      if ((await desk.store.get(issuer.issuer, client.clientId)) !== undefined) throw clientExists();
      const judged = { dry_run: true, issuer: issuer.issuer, client_id: body.client_id ?? null };
      return { status: 200, body: judged };
    }
    const stored = await desk.store.add(client);
    if (stored === undefined) throw clientExists();
    const applied = await announced(desk, stored);
    const shown = { ...shownClient(stored), applied, ...(secret === undefined ? {} : { client_secret: secret }) };
    return { status: 201, body: shown, etag: String(stored.version), audit: auditOf(stored, { name: stored.name }) };
  },
});

const clientExists = () => new SidecarError('conflict', 'client_exists', 'the issuer has a client of this id');

type NewFields = z.output<typeof newClientFields>;

function newClientOf(
  { clock }: AdminDependencies,
  { issuer, signer }: AdminIssuer,
  body: NewFields,
): { readonly client: NewClient; readonly secret: string | undefined } {
  const { client_id: clientId, secret_expires: expires, issuer: _, ...fields } = body;
  const nowMs = clock.nowMs();
  if (signer === undefined) return { client: externalOf(issuer, clientId, fields, nowMs), secret: undefined };
  if (clientId !== undefined && (!OWN_ID.test(clientId) || RESERVED_IDS.has(clientId))) {
    throw new FieldsError([{ path: 'client_id', problem: 'needs 3 to 64 letters, digits and . _ -' }]);
  }
  if (fields.name === undefined) throw new FieldsError([{ path: 'name', problem: 'is needed' }]);
  const properties = propertiesOf(draftOf(fields, ''));
  const made = usesSecret(properties)
    ? newClientSecret(nowMs, expires === undefined ? undefined : nowMs + (parseDuration(expires) as number))
    : undefined;
  const secrets = made === undefined ? [] : [made.kept];
  const origin = { registeredBy: 'operator', registrationTokenDigest: undefined, secrets } as const;
  const named = clientId === undefined ? origin : { ...origin, clientId };
  return { client: ownClient(issuer, properties, named, nowMs), secret: made?.secret };
}

function externalOf(
  issuer: string,
  clientId: string | undefined,
  fields: z.output<typeof clientFields>,
  nowMs: number,
): NewClient {
  if (clientId === undefined || !EXTERNAL_ID.test(clientId) || RESERVED_IDS.has(clientId)) {
    throw new FieldsError([{ path: 'client_id', problem: 'needs the id that the foreign issuer gave the client' }]);
  }
  const beyond = Object.keys(fields).filter(
    (name) => fields[name as keyof typeof fields] !== undefined && !externalFields.has(name),
  );
  if (beyond.length > 0) {
    throw new FieldsError(beyond.map((path) => ({ path, problem: 'is not for clients of foreign issuers' })));
  }
  const { name, tier, limits, tenant, disabled } = propertiesOf(draftOf(fields, clientId));
  return externalClient(issuer, clientId, { name, tier, limits, tenant, disabled }, nowMs);
}

const usesSecret = ({ authMethod }: ClientProperties) => authMethod.startsWith('client_secret_');

/** GET /v1/clients. */
export const listClients = endpoint({
  method: 'GET',
  path: '/v1/clients',
  permission: 'clients:read',
  reach: 'tenant',
  query: z.strictObject({
    ...pageQuery,
    ...issuerQuery,
    tier: z.string().min(1).max(64).optional(),
    tenant: z.string().min(1).max(200).optional(),
    name: z.string().min(1).max(200).optional(),
    disabled: z.enum(['true', 'false']).optional(),
  }),
  answers: { 200: pageShape(clientShape) },
  refusals: ['not_configured'],
  summary: 'Clients, newest first, by cursor pages.',
  handler: async (dependencies, { query }) => {
    const { limit, cursor, issuer, disabled, ...rest } = query;
    const filter = {
      ...rest,
      ...(issuer === undefined ? {} : { issuer: issOf(dependencies, issuer) }),
      ...(disabled === undefined ? {} : { disabled: disabled === 'true' }),
    };
    const wanted = Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
    // One more than is shown tells whether there is a next page.
    const found = await clientDeskOf(dependencies).store.page(wanted, placeOf(cursor), limit + 1);
    const items = found.slice(0, limit);
    const last = found.length > limit ? items.at(-1) : undefined;
    const next = last === undefined ? {} : { next: cursorOf(last) };
    return { status: 200, body: { items: items.map(shownClient), ...next } };
  },
});

const cursorOf = ({ createdAtMs, issuer, clientId }: ClientPlace) =>
  Buffer.from(JSON.stringify([createdAtMs, issuer, clientId])).toString('base64url');

function placeOf(cursor: string | undefined): ClientPlace | undefined {
  if (cursor === undefined) return undefined;
  const read = place.safeParse(parsed(Buffer.from(cursor, 'base64url').toString()));
  if (!read.success) throw new FieldsError([{ path: 'cursor', problem: 'is not a cursor of this list' }]);
  const [createdAtMs, issuer, clientId] = read.data;
  return { createdAtMs, issuer, clientId };
}

// A time that a Date can hold, and texts that PostgreSQL can: a cursor is anybody's to write.
const place = z.tuple([
  z.int().min(0).max(8_000_000_000_000),
  z.string().max(1024).regex(EXTERNAL_ID),
  z.string().regex(EXTERNAL_ID),
]);

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** GET /v1/clients/{id}. */
export const showClient = endpoint({
  method: 'GET',
  path: '/v1/clients/{id}',
  permission: 'clients:read',
  reach: 'tenant',
  query: z.strictObject(issuerQuery),
  answers: { 200: clientShape },
  refusals: ['not_configured', 'client_ambiguous'],
  summary: 'One client; `issuer` tells clients of one id apart.',
  handler: async (dependencies, { path, query }) => {
    const client = await clientNamed(dependencies, path.id as string, query.issuer);
    return { status: 200, body: shownClient(client), etag: String(client.version) };
  },
});

/** PUT /v1/clients/{id}: all fields anew. 200; a record of a foreign issuer is made where there is none. */
export const replaceClient = endpoint({
  method: 'PUT',
  path: '/v1/clients/{id}',
  permission: 'clients:write',
  reach: 'tenant',
  event: 'client.updated',
  versioned: true,
  query: z.strictObject(issuerQuery),
  body: clientFields,
  answers: { 200: changedClientShape },
  refusals: CHANGE_REFUSALS,
  summary: 'Replace all properties of a client; makes the record of a foreign client where there is none.',
  handler: async (dependencies, call) => {
    const { path, query, body, ifMatch } = call;
    refuseFields(call, body, COMMERCIAL);
    refusePrivateKeys(call, body.jwks_uri);
    const foreign = query.issuer === undefined ? undefined : foreignIssuer(dependencies, query.issuer);
    if (foreign !== undefined && ifMatch === undefined) {
      return putExternal(dependencies, externalOf(foreign, path.id, body, dependencies.clock.nowMs()));
    }
    const client = await clientNamed(dependencies, path.id as string, query.issuer);
    if (client.external) {
      return update(dependencies, call, client, ({ issuer, clientId, createdAtMs }) =>
        externalOf(issuer, clientId, body, createdAtMs),
      );
    }
    return update(dependencies, call, client, ({ name }) => propertiesOf(draftOf(body, name)));
  },
});

function foreignIssuer({ tokens }: AdminDependencies, wanted: string): string | undefined {
  const found = tokens.issuers().find(({ name, issuer }) => name === wanted || issuer === wanted);
  return found?.signer === undefined ? found?.issuer : undefined;
}

async function putExternal(dependencies: AdminDependencies, record: NewClient): Promise<AdminAnswer> {
  requireSound(dependencies, record);
  const desk = clientDeskOf(dependencies);
  const before = await desk.store.get(record.issuer, record.clientId);
  if (before !== undefined && !before.external) {
    throw new SidecarError(
      'conflict',
      'client_exists',
      'the client was registered when the issuer was ours: remove it',
    );
  }
  const after = await desk.store.put(record, dependencies.clock.nowMs());
  return changed(dependencies, before, after);
}

/** PATCH /v1/clients/{id}: only the fields that are given; null takes away (RFC 7396). A dry run says which. */
export const changeClient = endpoint({
  method: 'PATCH',
  path: '/v1/clients/{id}',
  permission: 'clients:write',
  reach: 'tenant',
  event: 'client.updated',
  versioned: true,
  query: z.strictObject({ ...issuerQuery, ...dryRunQuery }),
  body: clientFields,
  answers: { 200: z.union([changedClientShape, judgedShape]) },
  refusals: CHANGE_REFUSALS,
  summary:
    'Change some properties of a client; disabling refuses its tokens at once, everywhere. With dry_run=true it is judged only.',
  handler: async (dependencies, call) => {
    refuseFields(call, call.body, COMMERCIAL);
    refusePrivateKeys(call, call.body.jwks_uri);
    const client = await clientNamed(dependencies, call.path.id as string, call.query.issuer);
    const beyond = client.external ? Object.keys(call.body).filter((name) => !externalFields.has(name)) : [];
    if (beyond.length > 0) {
      throw new FieldsError(beyond.map((path) => ({ path, problem: 'is not for clients of foreign issuers' })));
    }
    if (call.query.dry_run === 'true') return judged(dependencies, call, client, patched(client, call.body));
    return update(dependencies, call, client, (before) => patched(before, call.body));
  },
});

/** What {@link update} would come to, with nothing changed. */
function judged(
  dependencies: AdminDependencies,
  { ifMatch, operator }: Pick<AdminCall, 'ifMatch' | 'operator'>,
  client: Client,
  wanted: ClientProperties,
): AdminAnswer {
  const { expectedVersion: meant } = expectedVersion(ifMatch);
  if (meant !== undefined && meant !== client.version) settled('stale');
  requireSound(dependencies, wanted);
  requireOwnTenant({ operator }, wanted);
  const { issuer, clientId } = client;
  const body = { dry_run: true, issuer, client_id: clientId, changed: changedFields(client, wanted) };
  return { status: 200, body };
}

/** How often a change is judged anew when somebody else is faster each time. */
const ATTEMPTS = 5;

/**
 * What was judged is what is changed: the version that was read must still be there. A change that was meant for no version
 * in particular is then made to the later one.
 */
async function update(
  dependencies: AdminDependencies,
  { ifMatch }: Pick<AdminCall, 'ifMatch'>,
  read: Client,
  make: (client: Client) => ClientProperties,
): Promise<AdminAnswer> {
  const { store } = clientDeskOf(dependencies);
  const { expectedVersion: meant } = expectedVersion(ifMatch);
  let before = read;
  for (let attempt = 1; ; attempt += 1) {
    if (meant !== undefined && meant !== before.version) settled('stale');
    const properties = make(before);
    requireSound(dependencies, properties);
    const change = { nowMs: dependencies.clock.nowMs(), expectedVersion: before.version };
    const outcome = await store.update(before.issuer, before.clientId, properties, change);
    if (outcome !== 'stale' || meant !== undefined || attempt === ATTEMPTS) {
      return changed(dependencies, before, settled(outcome));
    }
    before = settled((await store.get(before.issuer, before.clientId)) ?? 'missing');
  }
}

async function changed(
  dependencies: AdminDependencies,
  before: Client | undefined,
  after: Client,
): Promise<AdminAnswer> {
  const applied = await announced(clientDeskOf(dependencies), after);
  const fields = before === undefined ? undefined : changedFields(before, after);
  return {
    status: 200,
    body: { ...shownClient(after), applied },
    etag: String(after.version),
    event: eventOf(before, after),
    audit: auditOf(after, { changed: fields, tier: after.tier, disabled: after.disabled, applied }),
  };
}

function eventOf(before: Client | undefined, after: Client): AuditType {
  if (before === undefined) return 'client.registered';
  if (before.disabled === after.disabled) return 'client.updated';
  return after.disabled ? 'client.disabled' : 'client.enabled';
}

const auditOf = ({ clientId, issuer, tenant }: Client, more: Readonly<Record<string, unknown>>) => ({
  client: clientId,
  issuer,
  tenant,
  ...more,
});

/** DELETE /v1/clients/{id}: 204; what a client of ours was given is refused at once. */
export const removeClient = endpoint({
  method: 'DELETE',
  path: '/v1/clients/{id}',
  permission: 'clients:write',
  reach: 'tenant',
  event: 'client.removed',
  versioned: true,
  query: z.strictObject(issuerQuery),
  answers: { 204: null },
  refusals: CHANGE_REFUSALS,
  summary: 'Remove a client with its secrets; tokens of a client of ours are refused at once.',
  handler: async (dependencies, { path, query, ifMatch }) => {
    const desk = clientDeskOf(dependencies);
    const { issuer, clientId } = await clientNamed(dependencies, path.id as string, query.issuer);
    const nowMs = dependencies.clock.nowMs();
    const was = settled(await desk.store.remove(issuer, clientId, { nowMs, ...expectedVersion(ifMatch) }));
    const applied = await desk.announce(removalNotice(was, nowMs));
    return { status: 204, audit: auditOf(was, { name: was.name, applied }) };
  },
});
