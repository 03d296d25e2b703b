// Who is let in to the admin plane, as the program runs it: the state folder, the table of PostgreSQL, and the audit events of
// what the check finds.
import { type OperatorCheck, operatorCheck } from '../admin/operator-check.ts';
import { OperatorFailures } from '../admin/operator-failures.ts';
import { openOperators } from '../admin/operator-token.ts';
import type { AuditDraft, AuditTrail } from '../core/audit-trail.ts';
import type { Clock } from '../core/clock.ts';
import type { OperatorStore } from '../stores/contracts/operators.ts';
import type { Log } from '../telemetry/log.ts';

/** What it is made of. */
export interface OperatorParts {
  readonly stateDir: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly audit: AuditTrail;
  /** Undefined without `postgres`. */
  readonly table: OperatorStore | undefined;
}

/** The check, and its upkeep. */
export interface Operators extends Disposable {
  readonly check: OperatorCheck;
}

/** How long a removed first operator could still pass in an outage that begins right after. */
const REFRESH_MS = 10_000;

/** Opens it. Throws `misconfigured` for a state folder that cannot be used. */
export function openOperatorCheck({ stateDir, clock, log, audit, table }: OperatorParts): Operators {
  const record = (draft: AuditDraft) => {
    audit.record(draft).catch((error) => log.warn({ err: error, type: draft.type }, 'audit_event_lost'));
  };
  const check = operatorCheck({
    file: openOperators(stateDir, clock),
    table,
    failures: new OperatorFailures(clock),
    clock,
    onLimited: (address) =>
      record({
        type: 'auth.limited',
        actor: { kind: 'anonymous' },
        outcome: 'failure',
        reason: 'operator_failures',
        address,
      }),
    onRegistered: (id) => record({ type: 'operator.registered', actor: { kind: 'system' }, details: { operator: id } }),
    onBreakGlass: (id, address) => {
      log.warn({ who: id, from: address }, 'operator_break_glass');
      record({ type: 'operator.break_glass', actor: { kind: 'operator', id }, address });
    },
  });
  const timer = table && setInterval(() => void check.refresh(), REFRESH_MS).unref();
  void check.refresh();
  return { check, [Symbol.dispose]: () => clearInterval(timer) };
}
