// Makes the first operator token of a state folder before anything runs, for `doorward init`.
import { adminTokenPath, openOperators } from '../admin/operator-token.ts';
import { systemClock } from '../core/clock.ts';

/** Makes it unless there is one, and returns the path of the token file. Throws `misconfigured` as the start would. */
export function makeFirstOperator(stateDir: string): string {
  openOperators(stateDir, systemClock);
  return adminTokenPath(stateDir);
}
