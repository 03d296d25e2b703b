// What `audit verify` may find: a closed list of problems, and the report that holds them.

/** Every sort of problem. */
export type AuditProblemKind =
  | 'row_edited'
  | 'row_missing'
  | 'chain_broken'
  | 'chain_missing'
  | 'tail_cut'
  | 'head_differs'
  | 'details_edited'
  | 'details_unreadable'
  | 'checkpoint_missing'
  | 'checkpoint_forged'
  | 'checkpoint_broken'
  | 'checkpoint_key_unknown'
  | 'checkpoint_contradicts';

/** One problem and where it is; `message` says it to people. */
export interface AuditProblem {
  readonly problem: AuditProblemKind;
  readonly message: string;
  readonly writer?: string;
  readonly number?: number;
  readonly checkpoint?: number;
}

/** The outcome of a verification. */
export interface AuditReport {
  readonly ok: boolean;
  readonly chains: number;
  readonly events: number;
  readonly checkpoints: number;
  /** The newest checkpoint: to be noted elsewhere, since a log that was set back as a whole looks sound. */
  readonly lastCheckpoint: { readonly number: number; readonly atMs: number; readonly digest: string } | undefined;
  /** Events after the last checkpoint: chained, and not yet signed for. */
  readonly unsigned: number;
  /** The first hundred. */
  readonly problems: readonly AuditProblem[];
  readonly problemsTotal: number;
}

const KEPT = 100;

/** Collects problems. */
export class Findings {
  readonly kept: AuditProblem[] = [];
  total = 0;

  /** Notes one. */
  add(problem: AuditProblemKind, message: string, where: Omit<AuditProblem, 'problem' | 'message'>): void {
    this.total += 1;
    if (this.kept.length < KEPT) this.kept.push({ problem, message, ...where });
  }
}
