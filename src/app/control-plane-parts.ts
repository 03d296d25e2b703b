// What everything over PostgreSQL is opened with. Apart from control-plane.ts, so that its parts need not know the whole.
import type { LoadedConfig } from '../config/loaded.ts';
import type { AuditTrail } from '../core/audit-trail.ts';
import type { Clock } from '../core/clock.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';

/** What the control plane and each part of it is opened with. */
export interface ControlPlaneParts {
  readonly loaded: LoadedConfig;
  readonly stateDir: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** In a worker: the primary's trail, where events of the whole replica make one chain. The upkeep is the primary's, too. */
  readonly primaryTrail?: AuditTrail | undefined;
}
