// One chain of audit events per process start: each event is numbered and hashed together with the hash of the one before,
// so that none can be edited, removed or moved without a trace. What the ends of all chains are is checkpoint.ts's.
import { createHash, hash, randomBytes } from 'node:crypto';
import type { AuditDraft } from '../core/audit-trail.ts';
import { randomId } from '../core/ids.ts';
import type { AuditRecord } from '../stores/contracts/audit.ts';

/** A chained event whose details are still in clear: salt and JSON, to be sealed before they are stored. */
export interface ChainedEvent {
  readonly record: AuditRecord;
  readonly details: Buffer | undefined;
}

const SALT_BYTES = 16;
const LONGEST_TEXT = 1024;
const LARGEST_DETAILS = 16 * 1024;
// A writer that was silent for longer starts a new chain, so that retention may forget the old one as a whole.
const LONGEST_SILENCE_MS = 24 * 3_600_000;
const VERSION = 'doorward audit 1';

/** What the first event of a writer names as the hash before it. */
export const genesisHash = (writer: string): string => hash('sha256', `${VERSION}\n${writer}`, 'hex');

/** The hash of a record: SHA-256 over every public member, each with its length, so that no two records read alike. */
export function hashOf(record: Omit<AuditRecord, 'hash'>): string {
  const { writer, number, id, type, atMs, actorKind, actor, address, requestId, subject } = record;
  const { client, tenant, outcome, reason, checkpoint, detailsDigest, previous } = record;
  const members = [
    ...[previous, writer, String(number), id, type, String(atMs), actorKind, actor, address, requestId, subject],
    ...[client, tenant, outcome, reason, String(checkpoint), detailsDigest],
  ];
  const digest = createHash('sha256').update(VERSION);
  for (const member of members) {
    // Undefined has a mark of its own: it must not hash like an empty text.
    digest.update(member === undefined ? '\n-' : `\n${Buffer.byteLength(member)}:`).update(member ?? '');
  }
  return digest.digest('hex');
}

/** SHA-256 of salt and details, hex. */
export const digestOfDetails = (details: Uint8Array): string => createHash('sha256').update(details).digest('hex');

/** The details without their salt; undefined when they are no JSON object. */
export function parseDetails(details: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(details.subarray(SALT_BYTES)).toString());
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    // The caller says which record; the text itself stays out of messages.
    return undefined;
  }
}

/** Chains events. Not to be shared by processes. */
export class AuditChain {
  #writer = randomId();
  #number = 0;
  #previous = genesisHash(this.#writer);
  #lastMs = 0;

  /** The next event. Texts are cut at 1024 characters and NUL is dropped, which PostgreSQL cannot hold. */
  next(draft: AuditDraft, atMs: number, checkpoint: number): ChainedEvent {
    if (this.#number > 0 && atMs - this.#lastMs > LONGEST_SILENCE_MS) this.#renew();
    const details = saltedDetails(draft.details);
    const unhashed: Omit<AuditRecord, 'hash'> = {
      writer: this.#writer,
      number: this.#number + 1,
      id: `ev_${randomId()}`,
      type: draft.type,
      atMs,
      actorKind: draft.actor.kind,
      actor: storable(draft.actor.id),
      address: storable(draft.address),
      requestId: storable(draft.requestId),
      subject: storable(draft.subject),
      client: storable(draft.client),
      tenant: storable(draft.tenant),
      outcome: draft.outcome ?? 'success',
      reason: storable(draft.reason),
      checkpoint,
      detailsDigest: details && digestOfDetails(details),
      previous: this.#previous,
    };
    const record = { ...unhashed, hash: hashOf(unhashed) };
    this.#number += 1;
    this.#previous = record.hash;
    this.#lastMs = atMs;
    return { record, details };
  }

  #renew(): void {
    this.#writer = randomId();
    this.#number = 0;
    this.#previous = genesisHash(this.#writer);
  }
}

const storable = (text: string | undefined): string | undefined =>
  text === undefined ? undefined : text.slice(0, LONGEST_TEXT).toWellFormed().replaceAll('\0', '');

/** The salt keeps a reader of digests from trying out what few details there can be. */
function saltedDetails(details: AuditDraft['details']): Buffer | undefined {
  if (details === undefined || Object.keys(details).length === 0) return undefined;
  const json = JSON.stringify(details);
  const kept = Buffer.byteLength(json) <= LARGEST_DETAILS ? json : JSON.stringify({ truncated: json.slice(0, 4096) });
  return Buffer.concat([randomBytes(SALT_BYTES), Buffer.from(kept)]);
}
