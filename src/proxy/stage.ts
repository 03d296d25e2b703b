// What a stage of the pipeline may answer. The list of stages is pipeline.ts.
import type { Reason } from '../core/reasons.ts';
import type { Exchange } from './exchange.ts';

/** A stage that answers later returns this and calls the `resume` it was given. */
export const waiting = Symbol('waiting');

/** Nothing: go on. A reason: refuse. */
export type StageResult = Reason | undefined | typeof waiting;

/** Goes on after a stage that waited; a reason refuses. */
export type Resume = (exchange: Exchange, result: Reason | undefined) => void;

/** One step of the pipeline. */
export interface Stage {
  readonly name: string;
  readonly run: (exchange: Exchange, resume: Resume) => StageResult;
  /** Whether shadow mode lets its refusal through: decisions about the caller, never about broken requests. */
  readonly shadowable: boolean;
}
