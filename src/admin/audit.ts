// The audit log for operators: query, verification, export. What is recorded, and how it is proved, is audit/'s.
import { z } from 'zod';
import { parseDetails } from '../audit/chain.ts';
import { checkpointDigest } from '../audit/checkpoint.ts';
import { exportPage } from '../audit/export-lines.ts';
import { reportBody } from '../audit/report.ts';
import { opened, storedEvidence } from '../audit/stored-evidence.ts';
import { verifyAudit } from '../audit/verify.ts';
import { auditTypeNames, auditTypes } from '../core/audit-types.ts';
import { parseDuration } from '../core/units.ts';
import type { AuditFilter, AuditPlace, StoredAuditRecord } from '../stores/contracts/audit.ts';
import type { AdminDependencies, AuditDesk } from './dependencies.ts';
import { endpoint, FieldsError, notConfigured } from './endpoint.ts';
import { pageQuery } from './pages.ts';
import { auditType, count, pageShape, time } from './shapes.ts';

/** A time, or a duration before now. */
const moment = z.union(
  [z.iso.datetime({ offset: true }), z.string().refine((text) => parseDuration(text) !== undefined)],
  { error: 'needs a time such as 2026-05-01T12:00:00Z, or a duration before now such as 24h' },
);
const word = z.string().min(1).max(1024);

const filters = z.strictObject({
  ...pageQuery,
  since: moment.optional(),
  until: moment.optional(),
  type: z.enum(auditTypeNames).optional(),
  actor: word.optional(),
  subject: word.optional(),
  client: word.optional(),
  tenant: word.optional(),
  request_id: word.optional(),
});

const shownEvent = z.strictObject({
  id: z.string(),
  at: time,
  type: auditType,
  category: z.string(),
  severity: z.enum(['info', 'notice', 'warning', 'alert']),
  outcome: z.enum(['success', 'failure']),
  reason: z.string().nullable(),
  actor: z.strictObject({
    kind: z.enum(['operator', 'client', 'user', 'system', 'anonymous']),
    id: z.string().nullable(),
  }),
  address: z.string().nullable(),
  request_id: z.string().nullable(),
  subject: z.string().nullable(),
  client: z.string().nullable(),
  tenant: z.string().nullable(),
  details: z.union([z.record(z.string(), z.unknown()), z.literal('unreadable')]).nullable(),
  writer: z.string(),
  number: z.int().min(1),
  hash: z.string(),
});

const shownReport = z.strictObject({
  ok: z.boolean(),
  chains: count,
  events: count,
  /** Events after the last checkpoint. */
  unsigned: count,
  checkpoints: count,
  last_checkpoint: z.strictObject({ number: z.int(), at: time, digest: z.string() }).nullable(),
  problems: z.array(
    z.strictObject({
      problem: z.string(),
      message: z.string(),
      writer: z.string().optional(),
      number: z.int().optional(),
      checkpoint: z.int().optional(),
    }),
  ),
  problems_total: count,
  /** Only when a checkpoint was asked for. */
  asked_digest: z.string().nullable().optional(),
});

/** GET /v1/audit: events, newest first, by cursor pages that stay stable while others come in. */
export const listAudit = endpoint({
  method: 'GET',
  path: '/v1/audit',
  permission: 'audit:read',
  reach: 'tenant',
  query: filters,
  answers: { 200: pageShape(shownEvent) },
  refusals: ['not_configured'],
  summary: 'Audit events by time, type, actor, subject, client, tenant and request id.',
  handler: async (dependencies, { query }) => {
    const { store, sealer } = await deskOf(dependencies);
    const after = query.cursor === undefined ? undefined : placeIn(query.cursor);
    const found = await store.find(filterOf(query, dependencies.clock.nowMs()), after, query.limit + 1);
    const shownRows = found.slice(0, query.limit);
    const items = await Promise.all(shownRows.map(async (row) => shown(row, (await opened(row, sealer)).details)));
    const last = shownRows.at(-1);
    return { status: 200, body: found.length > query.limit && last ? { items, next: cursorOf(last) } : { items } };
  },
});

/** GET /v1/audit/verify: walks everything; 200 with the report, whatever it says. */
export const verifyAuditLog = endpoint({
  method: 'GET',
  path: '/v1/audit/verify',
  permission: 'audit:read',
  event: 'audit.verified',
  query: z.strictObject({
    /** Number of a checkpoint whose digest is wanted, to be compared with one noted elsewhere. */
    checkpoint: z
      .string()
      .regex(/^[1-9]\d{0,14}$/, 'needs the number of a checkpoint')
      .transform(Number)
      .optional(),
  }),
  answers: { 200: shownReport },
  refusals: ['not_configured'],
  summary: 'Prove that no event was edited, removed or moved, or say what was.',
  handler: async (dependencies, { query }) => {
    const desk = await deskOf(dependencies);
    const report = await verifyAudit(storedEvidence({ ...desk, keys: await desk.keys() }));
    const audit = { ok: report.ok, events: report.events, problems: report.problemsTotal };
    const body = { ...reportBody(report), ...(await askedDigest(desk, query.checkpoint)) };
    return { status: 200, body, audit };
  },
});

/** GET /v1/audit/export: one page of lines for `doorward audit verify --file`. */
export const exportAudit = endpoint({
  method: 'GET',
  path: '/v1/audit/export',
  permission: 'audit:read',
  event: 'audit.exported',
  query: z.strictObject({ limit: pageQuery.limit, cursor: z.string().max(512).default('') }),
  answers: {
    200: z.strictObject({ lines: z.array(z.record(z.string(), z.unknown())), next: z.string().optional() }),
  },
  refusals: ['not_configured'],
  summary: 'The whole log in pages of lines that can be verified offline.',
  handler: async (dependencies, { query }) => {
    const desk = await deskOf(dependencies);
    const page = await exportPage({ ...desk, keys: await desk.keys() }, query.cursor, query.limit);
    if (page === undefined) throw notACursor();
    const body = { lines: page.lines, ...(page.next === undefined ? {} : { next: page.next }) };
    // The first page stands for the export.
    return query.cursor === '' ? { status: 200, body, audit: {} } : { status: 200, body };
  },
});

async function askedDigest(
  { store }: AuditDesk,
  number: number | undefined,
): Promise<{ asked_digest?: string | null }> {
  if (number === undefined) return {};
  const [stored] = await store.checkpoints(number - 1, 1);
  return { asked_digest: stored?.number === number ? checkpointDigest(stored) : null };
}

/** With what the caller did just before. */
async function deskOf({ auditDesk }: AdminDependencies): Promise<AuditDesk> {
  if (auditDesk === undefined)
    throw notConfigured('the audit log needs `postgres` in sidecar.yaml; without it there are log lines only');
  await auditDesk.settled();
  return auditDesk;
}

function filterOf(query: z.output<typeof filters>, nowMs: number): AuditFilter {
  const at = (text: string) => {
    const durationMs = parseDuration(text);
    // No event is older than 1970, and PostgreSQL has no year 0.
    return Math.max(durationMs === undefined ? Date.parse(text) : nowMs - durationMs, 0);
  };
  return {
    ...(query.since === undefined ? {} : { sinceMs: at(query.since) }),
    ...(query.until === undefined ? {} : { untilMs: at(query.until) }),
    ...(query.type === undefined ? {} : { type: query.type }),
    ...(query.actor === undefined ? {} : { actor: query.actor }),
    ...(query.subject === undefined ? {} : { subject: query.subject }),
    ...(query.client === undefined ? {} : { client: query.client }),
    ...(query.tenant === undefined ? {} : { tenant: query.tenant }),
    ...(query.request_id === undefined ? {} : { requestId: query.request_id }),
  };
}

const cursorOf = ({ atMs, writer, number }: AuditPlace) =>
  Buffer.from(`${atMs} ${writer} ${number}`).toString('base64url');
const notACursor = () => new FieldsError([{ path: 'cursor', problem: 'is not a cursor of this list' }]);

function placeIn(cursor: string): AuditPlace {
  const match = /^(\d{1,16}) ([A-Za-z0-9_-]{1,64}) (\d{1,15})$/.exec(Buffer.from(cursor, 'base64url').toString());
  if (match === null) throw notACursor();
  return { atMs: Number(match[1]), writer: match[2] as string, number: Number(match[3]) };
}

/** An event as operators read it. */
function shown(row: StoredAuditRecord, details: Uint8Array | 'unreadable' | undefined): Record<string, unknown> {
  const { category, severity } = auditTypes[row.type];
  return {
    id: row.id,
    at: new Date(row.atMs).toISOString(),
    type: row.type,
    category,
    severity,
    outcome: row.outcome,
    reason: row.reason ?? null,
    actor: { kind: row.actorKind, id: row.actor ?? null },
    address: row.address ?? null,
    request_id: row.requestId ?? null,
    subject: row.subject ?? null,
    client: row.client ?? null,
    tenant: row.tenant ?? null,
    details: details === undefined || details === 'unreadable' ? (details ?? null) : (parseDetails(details) ?? null),
    writer: row.writer,
    number: row.number,
    hash: row.hash,
  };
}
