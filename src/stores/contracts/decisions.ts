// Contract of kept refusals, so that `doorward why REQUEST_ID` can be answered by any replica.

/** A decision as it is kept: plain JSON, no token and no secret inside. */
export type KeptDecision = Readonly<Record<string, unknown>> & { readonly request_id: string };

/** Capped by count; oldest leave first. Writing never delays a request and its failure is dropped. */
export interface DecisionStore {
  /** Takes the object over: the caller must not change it afterwards. */
  keep(decision: KeptDecision): void;
  /** Newest first; all filters must match exactly. */
  find(filter: Readonly<Record<string, string>>, limit: number): Promise<readonly KeptDecision[]>;
}
