// Opens the data plane over the parts of a process: what is under way, what is recorded, how it is answered.

import type { Clock } from '../core/clock.ts';
import type { KnownClients } from '../limits/clients.ts';
import type { CheckGate } from '../proxy/decide/check-gate.ts';
import { type OpenExchanges, openExchanges } from '../proxy/open-exchanges.ts';
import { answerer } from '../proxy/outbound/answer.ts';
import { Overload } from '../proxy/overload.ts';
import { type DataPlane, dataPlane } from '../proxy/server.ts';
import { judgeAgain } from '../proxy/standing.ts';
import type { RevocationFollower } from '../revocation/follower.ts';
import type { KeptDecision } from '../stores/contracts/decisions.ts';
import { decisionRecorder } from '../telemetry/decision.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Current } from './generations.ts';
import type { OpenedOAuth } from './oauth.ts';

/** What it is opened with. */
export interface PlaneParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly gate: CheckGate;
  readonly follower: Pick<RevocationFollower, 'mayKeepOpen'>;
  readonly knownClients: Pick<KnownClients, 'version'>;
  readonly current: () => Current;
  /** Public endpoints of ours; undefined without. */
  readonly site: OpenedOAuth['site'] | undefined;
  /** Takes every refusal, for `doorward why`. */
  readonly keep: (decision: KeptDecision) => void;
  readonly isDraining: () => boolean;
}

/** Opens it; `open` is to be disposed with the rest. */
export function openPlane(parts: PlaneParts): { readonly plane: DataPlane; readonly open: OpenExchanges } {
  const { clock, log, metrics, gate, follower, knownClients, current, site, keep, isDraining } = parts;
  const open = openExchanges({
    nowMs: () => clock.nowMs(),
    monotonicMs: () => clock.monotonicMs(),
    isRevoked: (token) => gate.isRevoked(token),
    knowsRevocations: () => follower.mayKeepOpen(),
    recordsVersion: () => knownClients.version,
    generation: () => current().generation,
    judge: judgeAgain,
  });
  const recorder = decisionRecorder({
    log,
    metrics,
    settings: () => {
      const { decisions, subject } = current().loaded.config.log;
      return { ...decisions, subject };
    },
    keep,
    nowMs: () => clock.nowMs(),
  });
  const overload = new Overload({
    clock,
    settings: () => current().loaded.config.proxy,
    onChange: (change) => {
      if (change.began) log.warn({}, 'overload_began');
      else log.warn({ refused: change.refused }, 'overload_ended');
    },
  });
  const answers = answerer({ clock, open, overload, recorder, metrics, isDraining });
  const plane = dataPlane({
    generation: current().generation,
    answerer: answers,
    open,
    clock,
    site,
    onParserRefusal: (reason, requestId, peer) => answers.parserRefused(reason, requestId, peer),
    onHandshakeFailed: (cause) => metrics.handshakesFailed.labels(cause).inc(),
  });
  return { plane, open };
}
