// What is wrong with the audit trail. Each trouble is told once until it is over: a log line for each retry would bury the rest.
import { SidecarError } from '../core/errors.ts';
import { AuditTampered } from './checkpointer.ts';

/** What may be wrong with the trail. */
export type AuditTrouble = 'store_away' | 'store_refuses' | 'spool_failing' | 'spool_full' | 'tampered';

/** The troubles of one trail. */
export class Troubles {
  readonly #onTrouble: (trouble: AuditTrouble, error: unknown) => void;
  readonly #present = new Set<AuditTrouble>();

  /** `onTrouble` is told when one begins, and must not throw. */
  constructor(onTrouble: (trouble: AuditTrouble, error: unknown) => void) {
    this.#onTrouble = onTrouble;
  }

  /** The one that has lasted longest; undefined where all is well. */
  get first(): AuditTrouble | undefined {
    const [trouble] = this.#present;
    return trouble;
  }

  /** True while it lasts. */
  has(trouble: AuditTrouble): boolean {
    return this.#present.has(trouble);
  }

  /** It is there; where it was already, nobody is told again. */
  note(trouble: AuditTrouble, error: unknown): void {
    if (this.#present.has(trouble)) return;
    this.#present.add(trouble);
    this.#onTrouble(trouble, error);
  }

  /** PostgreSQL, or what lies in it, failed with `error`. */
  noteFailure(error: unknown): void {
    this.note(troubleOf(error), error);
  }

  /** They are over. */
  end(...troubles: readonly AuditTrouble[]): void {
    for (const trouble of troubles) this.#present.delete(trouble);
  }
}

function troubleOf(error: unknown): AuditTrouble {
  if (error instanceof AuditTampered) return 'tampered';
  return error instanceof SidecarError && error.kind === 'store_unavailable' ? 'store_away' : 'store_refuses';
}
