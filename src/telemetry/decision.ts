// One record per request (design 4.13): what was decided, why, and what it cost. Counts it, samples it into the log, and
// keeps refusals for `doorward why`. The closed list of reasons is core/reasons.ts.
import { digest } from '../core/encoding.ts';
import { type Reason, reasons } from '../core/reasons.ts';
import type { Tally } from './instruments.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';

/** What the planes know about a decided request. Times in ms. */
export interface Decision {
  readonly requestId: string;
  /** The trace that it belongs to, ours or one that is believed. */
  readonly traceId: string | undefined;
  readonly reason: Reason;
  /** True when the request went on, also in spite of a refusal in shadow mode. */
  readonly allowed: boolean;
  readonly shadow: boolean;
  /** Stage that decided. */
  readonly stage: string;
  readonly route: string | undefined;
  readonly method: string;
  readonly path: string;
  readonly host: string;
  readonly address: string;
  readonly subject: string | undefined;
  readonly client: string | undefined;
  readonly tokenId: string | undefined;
  readonly issuer: string | undefined;
  /** Status that the client got; 0 when the connection ended first. */
  readonly status: number;
  readonly limits: readonly string[] | undefined;
  readonly ownMs: number;
  readonly upstreamMs: number | undefined;
  /** One line for operators: which setting, or what was wrong. */
  readonly rule: string | undefined;
  /** Names the configuration that it was decided by (config/loaded.ts); undefined where none was asked. */
  readonly config: string | undefined;
}

/** How decisions are logged (`log` in sidecar.yaml). */
export interface DecisionSettings {
  readonly allow: number;
  readonly deny: number;
  readonly subject: 'digest' | 'plain' | 'off';
}

/** Receives decisions; the hot path calls `record` once per request. */
export interface DecisionRecorder {
  /**
   * Counts an allowed request and says whether its record is wanted: most are not, and then the record need not be made.
   * Must be followed by `record` when it says true.
   */
  wantsAllowed(reason: Reason, route: string): boolean;
  /** Counts a refusal that is neither logged nor kept: where refusing must cost next to nothing. */
  countRefused(reason: Reason): void;
  /** Logs and keeps; counts too, unless `wantsAllowed` has done so. */
  record(decision: Decision, counted?: boolean): void;
}

/** Builds the recorder. `random` is replaced by tests; `keep` receives refusals as plain JSON. */
export function decisionRecorder(options: {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly settings: () => DecisionSettings;
  readonly keep: (decision: Readonly<Record<string, unknown>> & { readonly request_id: string }) => void;
  readonly nowMs: () => number;
  readonly random?: () => number;
}): DecisionRecorder {
  const { log, metrics, settings, keep, nowMs, random = Math.random } = options;
  const allowedTallies = new Map<string, Map<Reason, Tally>>();
  /** By route, then reason: a joined key would be a new string for every request. */
  const allowedTally = (reason: Reason, route: string): Tally => {
    const known = allowedTallies.get(route)?.get(reason);
    if (known !== undefined) return known;
    const made = metrics.decisions.labels('allow', reason, route);
    const byReason = allowedTallies.get(route) ?? new Map<Reason, Tally>();
    allowedTallies.set(route, byReason.set(reason, made));
    return made;
  };
  // Nothing in a decision needs redacting, and the redaction of every field of every refusal costs more than the refusal.
  const lines = log.child({}, { redact: [] });
  const isoTime = timeOnce();
  const sampled = (share: number) => share >= 1 || (share > 0 && random() < share);
  return {
    wantsAllowed(reason, route) {
      allowedTally(reason, route).inc();
      return sampled(settings().allow);
    },
    countRefused: (reason) => metrics.decisions.labels('deny', reason, '').inc(),
    record(decision, counted = false) {
      const refused = !decision.allowed || decision.shadow;
      const { allowed, reason, route = '' } = decision;
      if (!counted) metrics.decisions.labels(allowed ? 'allow' : 'deny', reason, route).inc();
      const logged = counted || sampled(refused ? settings().deny : settings().allow);
      if (!logged && !refused) return;
      const fields = decisionFields(decision, settings().subject);
      if (logged) lines.info(fields, 'decision');
      if (refused) keep({ ...fields, config: decision.config, time: isoTime(nowMs()) });
    },
  };
}

/** ISO time of the moment; many refusals share a millisecond. */
function timeOnce(): (nowMs: number) => string {
  let lastMs = Number.NaN;
  let text = '';
  return (nowMs) => {
    if (nowMs !== lastMs) {
      lastMs = nowMs;
      text = new Date(nowMs).toISOString();
    }
    return text;
  };
}

const MAX_DIGESTS = 1000;
const digests = new Map<string, string>();

/** Digest of a name for the log; a caller that is refused again and again is named once. */
function shortDigest(value: string): string {
  let short = digests.get(value);
  if (short === undefined) {
    short = `sha256:${digest(value).slice(0, 22)}`;
    if (digests.size >= MAX_DIGESTS) digests.clear();
    digests.set(value, short);
  }
  return short;
}

function decisionFields(decision: Decision, subject: DecisionSettings['subject']) {
  const named = (value: string | undefined) => {
    if (value === undefined || subject === 'off') return undefined;
    return subject === 'plain' ? value : shortDigest(value);
  };
  return {
    request_id: decision.requestId,
    trace_id: decision.traceId,
    outcome: decision.allowed ? 'allow' : 'deny',
    reason: decision.reason,
    code: reasons[decision.reason].code,
    status: decision.status,
    stage: decision.stage,
    route: decision.route,
    method: decision.method,
    host: decision.host,
    path: decision.path.length > 512 ? `${decision.path.slice(0, 512)}…` : decision.path,
    address: decision.address,
    issuer: decision.issuer,
    subject: named(decision.subject),
    client: named(decision.client),
    token_id: decision.tokenId,
    shadow: decision.shadow || undefined,
    limits: decision.limits,
    own_ms: round(decision.ownMs),
    upstream_ms: decision.upstreamMs === undefined ? undefined : round(decision.upstreamMs),
    rule: decision.rule,
  };
}

const round = (ms: number) => Math.round(ms * 1000) / 1000;
