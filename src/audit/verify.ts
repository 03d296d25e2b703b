// Proves that nothing in the audit log was edited, removed or moved: walks every chain and its gaps, checks every
// checkpoint's signature, and that each head that a checkpoint lists is there. Reads evidence from the store or from an
// exported file alike.
import type { KeyObject } from 'node:crypto';
import type { AuditHead, AuditRecord, StoredCheckpoint } from '../stores/contracts/audit.ts';
import { digestOfDetails, genesisHash, hashOf } from './chain.ts';
import { type CheckpointStatement, checkpointDigest, openCheckpoint } from './checkpoint.ts';
import { type AuditReport, Findings } from './findings.ts';

/** An event with its details, salt included; `unreadable` when they cannot be unsealed. */
export interface AuditEvidenceEvent {
  readonly record: AuditRecord;
  readonly details: Uint8Array | 'unreadable' | undefined;
}

/** What there is to verify. */
export interface AuditEvidence {
  /** Keys that are trusted to sign checkpoints, by id. */
  readonly keys: ReadonlyMap<string, KeyObject>;
  /** Checkpoints after the number, in order. Asked again at the end, since a running system goes on. */
  checkpoints(afterNumber: number): AsyncIterable<StoredCheckpoint>;
  /** All events in order of writer and number. */
  events(): AsyncIterable<AuditEvidenceEvent>;
}

/** Verifies all of it. Rejects only when the evidence cannot be read. */
export async function verifyAudit(evidence: AuditEvidence): Promise<AuditReport> {
  const findings = new Findings();
  const checkpoints = new CheckpointWalk(evidence.keys, findings);
  for await (const stored of evidence.checkpoints(0)) checkpoints.take(stored, true);
  const chains = new ChainWalk(checkpoints, findings);
  for await (const event of evidence.events()) chains.take(event);
  // What was cut off and signed for while we walked is no gap.
  for await (const stored of evidence.checkpoints(checkpoints.last?.number ?? 0)) checkpoints.take(stored, false);
  checkpoints.finish();
  chains.finish();
  const { last } = checkpoints;
  return {
    ok: findings.total === 0,
    chains: chains.writers,
    events: chains.events,
    checkpoints: checkpoints.count,
    lastCheckpoint: last && { number: last.number, atMs: last.atMs, digest: checkpointDigest(last) },
    unsigned: chains.unsigned,
    problems: findings.kept,
    problemsTotal: findings.total,
  };
}

/** The checkpoints in order: signatures, their own chain, and what they say of the chains of events. */
class CheckpointWalk {
  count = 0;
  last: StoredCheckpoint | undefined;
  /** Hash by number, per writer, as listed by any checkpoint. */
  readonly heads = new Map<string, Map<number, string>>();
  readonly cuts = new Map<string, AuditHead[]>();
  readonly #keys: ReadonlyMap<string, KeyObject>;
  readonly #findings: Findings;
  #first: number | undefined;
  #said: CheckpointStatement | undefined;

  constructor(keys: ReadonlyMap<string, KeyObject>, findings: Findings) {
    this.#keys = keys;
    this.#findings = findings;
  }

  /** `withHeads`: the events are still to be walked, so they must show the heads. */
  take(stored: StoredCheckpoint, withHeads: boolean): void {
    const { number } = stored;
    const before = this.last;
    this.count += 1;
    this.#first ??= number;
    this.last = stored;
    if (before !== undefined && number !== before.number + 1) this.#missing(before.number + 1, number - 1);
    const key = this.#keys.get(stored.keyId);
    const said = key && openCheckpoint(stored, key);
    if (key === undefined) this.#add('checkpoint_key_unknown', `is signed by the unknown key ${stored.keyId}`, number);
    else if (said === undefined) this.#add('checkpoint_forged', 'has a signature that does not hold', number);
    if (said === undefined) return;
    if (before?.number === number - 1 && said.previous !== checkpointDigest(before)) {
      this.#add('checkpoint_broken', 'does not name the checkpoint before it', number);
    }
    this.#compare(said);
    for (const cut of said.cuts) this.cuts.set(cut.writer, [...(this.cuts.get(cut.writer) ?? []), cut]);
    if (withHeads) for (const head of said.heads) this.#note(head);
    this.#said = said;
  }

  finish(): void {
    const keptFrom = this.#said?.keptFrom;
    if (keptFrom !== undefined && this.#first !== undefined && this.#first > keptFrom) {
      this.#missing(keptFrom, this.#first - 1);
    }
  }

  /** True when everything up to the number was cut off with a signature. */
  isCut(writer: string, number: number): boolean {
    return (this.cuts.get(writer) ?? []).some((cut) => cut.number >= number);
  }

  #note({ writer, number, hash }: AuditHead): void {
    const known = this.heads.get(writer) ?? new Map<number, string>();
    this.heads.set(writer, known);
    if ((known.get(number) ?? hash) !== hash) {
      this.#findings.add('checkpoint_contradicts', `two checkpoints give event ${number} different hashes`, {
        writer,
        number,
      });
    }
    known.set(number, hash);
  }

  /** No chain gets shorter, and none is forgotten before it was cut at its end. */
  #compare(said: CheckpointStatement): void {
    const now = new Map(said.heads.map(({ writer, number }) => [writer, number]));
    const cut = new Map(this.#said?.cuts.map(({ writer, number }) => [writer, number]));
    for (const { writer, number } of this.#said?.heads ?? []) {
      if ((now.get(writer) ?? 0) >= number || cut.get(writer) === number) continue;
      this.#findings.add('checkpoint_contradicts', `checkpoint ${said.number} forgets events of a chain`, {
        checkpoint: said.number,
        writer,
        number,
      });
    }
  }

  #missing(from: number, to: number): void {
    this.#add('checkpoint_missing', from === to ? 'is missing' : `and those up to ${to} are missing`, from);
  }

  #add(problem: Parameters<Findings['add']>[0], words: string, checkpoint: number): void {
    this.#findings.add(problem, `checkpoint ${checkpoint} ${words}`, { checkpoint });
  }
}

/** The chains one after the other. */
class ChainWalk {
  writers = 0;
  events = 0;
  unsigned = 0;
  readonly #checkpoints: CheckpointWalk;
  readonly #findings: Findings;
  readonly #seen = new Map<string, number>();
  /** Places where a chain does not go on from the row before: sound only where a checkpoint records the cut. */
  readonly #starts: { readonly record: AuditRecord; readonly after: number }[] = [];
  #newestHead = 0;
  #last: AuditRecord | undefined;
  #named: AuditRecord | undefined;

  constructor(checkpoints: CheckpointWalk, findings: Findings) {
    this.#checkpoints = checkpoints;
    this.#findings = findings;
  }

  take({ record, details }: AuditEvidenceEvent): void {
    const { writer, number } = record;
    const before = this.#last?.writer === writer ? this.#last : undefined;
    this.events += 1;
    if (before === undefined) {
      this.writers += 1;
      this.#newestHead = Math.max(0, ...(this.#checkpoints.heads.get(writer)?.keys() ?? []));
    }
    this.#last = record;
    this.#seen.set(writer, number);
    if (number !== (before?.number ?? 0) + 1) this.#starts.push({ record, after: before?.number ?? 0 });
    else if (record.previous !== (before?.hash ?? genesisHash(writer))) {
      this.#add('chain_broken', 'does not follow from the event before it', record);
    }
    if (hashOf(record) !== record.hash) this.#add('row_edited', 'is not what was written', record);
    this.#checkDetails(record, details);
    this.#checkHead(record);
    if (record.checkpoint > (this.#named?.checkpoint ?? 0)) this.#named = record;
  }

  finish(): void {
    for (const { record, after } of this.#starts) this.#judgeStart(record, after);
    const last = this.#checkpoints.last?.number ?? 0;
    if (this.#named !== undefined && this.#named.checkpoint > last) {
      const checkpoint = this.#named.checkpoint;
      const message = `checkpoint ${checkpoint} is missing: later events name it`;
      this.#findings.add('checkpoint_missing', message, { checkpoint });
    }
    for (const [writer, heads] of this.#checkpoints.heads) this.#judgeEnd(writer, Math.max(...heads.keys()));
  }

  #judgeStart(record: AuditRecord, after: number): void {
    const { writer, number, previous } = record;
    const cuts = this.#checkpoints.cuts.get(writer) ?? [];
    if (cuts.some((cut) => cut.number === number - 1 && cut.hash === previous)) return;
    const from = after + 1;
    const which = from === number - 1 ? `event ${from} is` : `events ${from} to ${number - 1} are`;
    this.#findings.add('row_missing', `${which} missing`, { writer, number: from });
  }

  #judgeEnd(writer: string, number: number): void {
    const seen = this.#seen.get(writer) ?? 0;
    if (seen >= number || this.#checkpoints.isCut(writer, number)) return;
    if (seen === 0) this.#findings.add('chain_missing', `the whole chain of ${number} events is missing`, { writer });
    else this.#findings.add('tail_cut', `events ${seen + 1} to ${number} are missing at the end`, { writer, number });
  }

  #checkHead(record: AuditRecord): void {
    const heads = this.#checkpoints.heads.get(record.writer);
    const signed = heads?.get(record.number);
    if (signed !== undefined && signed !== record.hash) {
      this.#add('head_differs', 'has another hash than a signed checkpoint says', record);
    }
    // Ordered by number, so the newest head is the last one noted.
    if (record.number > this.#newestHead) this.unsigned += 1;
  }

  #checkDetails(record: AuditRecord, details: AuditEvidenceEvent['details']): void {
    if (details === 'unreadable') this.#add('details_unreadable', 'has details that cannot be unsealed', record);
    else if ((details && digestOfDetails(details)) !== record.detailsDigest) {
      this.#add('details_edited', 'has other details than were written', record);
    }
  }

  #add(problem: Parameters<Findings['add']>[0], words: string, { writer, number }: AuditRecord): void {
    this.#findings.add(problem, `event ${number} ${words}`, { writer, number });
  }
}
