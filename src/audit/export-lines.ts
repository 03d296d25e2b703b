// An export of the audit log: one JSON object per line, first the keys, then the checkpoints, then every event in order of
// writer and number, then the checkpoints that were signed meanwhile, which the last events may name; so that
// `doorward audit verify --file` can prove it anywhere.
import { createPublicKey, type KeyObject } from 'node:crypto';
import { SidecarError } from '../core/errors.ts';
import { isJsonObject } from '../core/strict-json.ts';
import type { AuditRecord, StoredCheckpoint } from '../stores/contracts/audit.ts';
import { keyIdOf } from './checkpoint.ts';
import { type AuditReading, opened } from './stored-evidence.ts';
import type { AuditEvidence, AuditEvidenceEvent } from './verify.ts';

/** One line. Details are base64url of salt and JSON, null for those that cannot be unsealed. */
export type ExportLine =
  | { readonly key: { readonly key_id: string; readonly public_key: string } }
  | { readonly checkpoint: StoredCheckpoint }
  | { readonly event: AuditRecord; readonly details?: string | null };

/** One page of lines and where the next begins; `next` is undefined on the last. */
export interface ExportPage {
  readonly lines: readonly ExportLine[];
  readonly next: string | undefined;
}

const CHECKPOINTS_AT_ONCE = 10;

/** The page at a cursor; '' is the beginning. Undefined for what is no cursor. */
export async function exportPage(
  reading: AuditReading,
  cursor: string,
  limit: number,
): Promise<ExportPage | undefined> {
  const { store, sealer, keys } = reading;
  if (cursor === '') {
    const lines = [...keys.trusted].map(([key_id, key]) => ({
      key: { key_id, public_key: key.export({ type: 'spki', format: 'der' }).toString('base64url') },
    }));
    return { lines, next: 'checkpoint 0' };
  }
  const [, kind, signed, writer, number] = /^(checkpoint|event|late) (\d+)(?: (\S+) (\d+))?$/.exec(cursor) ?? [];
  if (kind === undefined || (writer !== undefined && kind !== 'event')) return undefined;
  if (kind !== 'event') {
    const page = await store.checkpoints(Number(signed), CHECKPOINTS_AT_ONCE);
    const last = page.at(-1);
    const over = kind === 'late' ? undefined : `event ${signed}`;
    return { lines: page.map((checkpoint) => ({ checkpoint })), next: last ? `${kind} ${last.number}` : over };
  }
  const page = await store.walk(writer === undefined ? undefined : { writer, number: Number(number) }, limit);
  const events = await Promise.all(page.map((record) => opened(record, sealer)));
  const last = page.at(-1);
  const goesOn = last !== undefined && page.length === limit;
  const next = goesOn ? `event ${signed} ${last.writer} ${last.number}` : `late ${signed}`;
  return { lines: events.map(eventLine), next };
}

function eventLine({ record, details }: AuditEvidenceEvent): ExportLine {
  if (details === undefined) return { event: record };
  return { event: record, details: details === 'unreadable' ? null : Buffer.from(details).toString('base64url') };
}

/**
 * Evidence from the lines of an export. `trusted`: ids of keys, or undefined to believe those in the file, which proves that
 * it fits together and not who wrote it. Throws `malformed` for lines that are not of an export.
 */
export function exportedEvidence(
  lines: () => AsyncIterable<string>,
  trusted: readonly string[] | undefined,
): { readonly evidence: AuditEvidence; readonly keyIds: Set<string> } {
  const keys = new Map<string, KeyObject>();
  const keyIds = new Set<string>();
  const parsed = async function* () {
    let number = 0;
    for await (const text of lines()) {
      number += 1;
      if (text !== '') yield parseLine(text, number);
    }
  };
  let walked = false;
  const evidence: AuditEvidence = {
    keys,
    async *checkpoints(after) {
      for await (const line of parsed()) {
        // Those behind the events may speak of later events than the file has: they only answer for what events name.
        if ('event' in line) {
          if (walked) continue;
          return;
        }
        if ('key' in line) noteKey(line.key.public_key, trusted, keys);
        else if (line.checkpoint.number > after) {
          keyIds.add(line.checkpoint.keyId);
          yield line.checkpoint;
        }
      }
    },
    async *events() {
      walked = true;
      for await (const line of parsed()) {
        if (!('event' in line)) continue;
        const details = line.details === null ? 'unreadable' : line.details && Buffer.from(line.details, 'base64url');
        yield { record: line.event, details: details === '' ? undefined : details };
      }
    },
  };
  return { evidence, keyIds };
}

/** The id is computed and not read: it is what an operator compares. */
function noteKey(text: string, trusted: readonly string[] | undefined, keys: Map<string, KeyObject>): void {
  const publicKey = publicKeyIn(text);
  const keyId = keyIdOf(publicKey);
  if (trusted === undefined || trusted.includes(keyId)) keys.set(keyId, publicKey);
}

function publicKeyIn(text: string): KeyObject {
  try {
    return createPublicKey({ key: Buffer.from(text, 'base64url'), type: 'spki', format: 'der' });
  } catch (cause) {
    throw unsound('a key of the file is no public key', cause);
  }
}

const unsound = (message: string, cause?: unknown) =>
  new SidecarError('malformed', 'request_malformed', message, { cause });

function parseLine(text: string, number: number): ExportLine {
  let line: unknown;
  try {
    line = JSON.parse(text);
  } catch (cause) {
    throw unsound(`line ${number} is no JSON`, cause);
  }
  if (isExportLine(line)) return line;
  throw unsound(`line ${number} is none of an audit export`);
}

/** Whether it has what a walk over it takes for granted; everything else a signature or a hash speaks for. */
function isExportLine(line: unknown): line is ExportLine {
  if (!isJsonObject(line)) return false;
  const { key, checkpoint, event } = line;
  if (isJsonObject(key)) return typeof key.public_key === 'string';
  if (isJsonObject(event)) return typeof event.writer === 'string' && Number.isSafeInteger(event.number);
  if (!isJsonObject(checkpoint) || !Number.isSafeInteger(checkpoint.number)) return false;
  return typeof checkpoint.statement === 'string' && typeof checkpoint.signature === 'string';
}
