// Which endpoints are left out because they accept requests and answer none of them well: for a while that grows, and never
// so many that the rest would break under the load.
import type { UpstreamConfig } from '../../../config/schema.ts';
import { type Endpoint, OUT } from './endpoint.ts';

/** Settings of `ejection`. */
export type EjectionRules = UpstreamConfig['ejection'];

/** Ejects `endpoint` if its failures and the state of the others allow it; true when it did. */
export function ejected(
  endpoint: Endpoint,
  list: readonly Endpoint[],
  rules: EjectionRules,
  monotonicMs: number,
): boolean {
  if (rules.failures === 0 || endpoint.failures < rules.failures || endpoint.rank === OUT) return false;
  let out = 0;
  let others = 0;
  for (const each of list) {
    if (each.ejectedUntilMs > 0) out += 1;
    else if (each !== endpoint && each.rank !== OUT) others += 1;
  }
  if (others === 0 || out + 1 > list.length * rules.max_share) return false;
  // One that has served that long since its last ejection starts anew.
  if (monotonicMs - endpoint.returnedAtMs >= rules.longest) endpoint.ejections = 0;
  endpoint.ejectedUntilMs = monotonicMs + Math.min(rules.longest, rules.for * 2 ** endpoint.ejections);
  endpoint.ejections += 1;
  endpoint.failures = 0;
  return true;
}

/** Ends the ejection of `endpoint`. What was under way when it began has failed meanwhile, and counts no more. */
export function readmit(endpoint: Endpoint, monotonicMs: number): void {
  endpoint.ejectedUntilMs = 0;
  endpoint.returnedAtMs = monotonicMs;
  endpoint.failures = 0;
}
