// Decides what the next checkpoint says, and refuses to sign what contradicts the last one: a checkpoint over a log that
// somebody has shortened would make the loss official.
import { SidecarError } from '../core/errors.ts';
import { type AuditHead, type CheckpointFacts, type NewCheckpoint, placeKey } from '../stores/contracts/audit.ts';
import { type CheckpointStatement, checkpointDigest, openCheckpoint, signCheckpoint } from './checkpoint.ts';
import type { CheckpointKeys } from './keys.ts';

/** Each checkpoint lists every head, so that old ones prove nothing more; these are kept as a record of times. */
const KEPT_CHECKPOINTS = 200;

/** The log is not what the last checkpoint says. */
export class AuditTampered extends SidecarError {
  constructor(message: string) {
    super('internal', 'audit_tampered', message);
  }
}

/**
 * The next checkpoint, or undefined when nothing has happened. `own` is the last event that this process knows to be stored:
 * what the writer itself remembers cannot be cut off or changed between two checkpoints either. Rejects with
 * {@link AuditTampered}.
 */
export async function nextCheckpoint(
  facts: CheckpointFacts,
  { signing, trusted }: CheckpointKeys,
  nowMs: number,
  own?: AuditHead,
): Promise<NewCheckpoint | undefined> {
  const { last, heads, expired } = facts;
  if (facts.namedCheckpoint > (last?.number ?? 0)) throw new AuditTampered('a checkpoint that events name is gone');
  const key = last && trusted.get(last.keyId);
  const said = last && key && openCheckpoint(last, key);
  if (last !== undefined && said === undefined) throw new AuditTampered(`checkpoint ${last.number} is not ours`);
  if (said !== undefined) await compare(said, facts);
  if (own !== undefined) await compareOwn(own, facts);
  if (expired.length === 0 && sameHeads(said?.heads ?? [], heads)) return undefined;
  const number = (last?.number ?? 0) + 1;
  const keptFrom = Math.max(said?.keptFrom ?? 1, number - KEPT_CHECKPOINTS + 1);
  const statement: CheckpointStatement = {
    number,
    // Never before the last one, whatever the clock was set to.
    atMs: Math.max(nowMs, said?.atMs ?? 0),
    previous: last && checkpointDigest(last),
    keptFrom,
    heads,
    cuts: cutsOf(said?.cuts ?? [], heads, expired),
  };
  return { checkpoint: signCheckpoint(statement, signing), cuts: expired, keepFrom: keptFrom };
}

/** Every head that was signed for must still be there, unless it was cut off with a signature. */
async function compare(said: CheckpointStatement, facts: CheckpointFacts): Promise<void> {
  const cuts = new Map(said.cuts.map(({ writer, number }) => [writer, number]));
  const owed = said.heads.filter(({ writer, number }) => (cuts.get(writer) ?? 0) < number);
  const stored = await facts.hashesOf(owed);
  const wrong = owed.find((head) => stored.get(placeKey(head)) !== head.hash);
  if (wrong !== undefined) {
    throw new AuditTampered(
      `event ${wrong.number} of chain ${wrong.writer} is not what checkpoint ${said.number} says`,
    );
  }
}

/** Its hash stands for all events of the chain before it. */
async function compareOwn(own: AuditHead, facts: CheckpointFacts): Promise<void> {
  const stored = await facts.hashesOf([own]);
  if (stored.get(placeKey(own)) === own.hash) return;
  throw new AuditTampered(`event ${own.number} of chain ${own.writer} is not what this process stored`);
}

function sameHeads(before: readonly AuditHead[], now: readonly AuditHead[]): boolean {
  const known = new Map(before.map(({ writer, number }) => [writer, number]));
  return now.every(({ writer, number }) => known.get(writer) === number);
}

/** Old cuts are repeated for as long as their chain has rows; the rest of such a chain starts after one. */
function cutsOf(before: readonly AuditHead[], heads: readonly AuditHead[], expired: readonly AuditHead[]): AuditHead[] {
  const present = new Set(heads.map(({ writer }) => writer));
  const cuts = new Map(before.filter(({ writer }) => present.has(writer)).map((cut) => [cut.writer, cut]));
  for (const cut of expired) cuts.set(cut.writer, cut);
  return [...cuts.values()];
}
