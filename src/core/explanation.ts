// The words of `explain`, shared by the plane that asks and the plane that answers: a request that is judged and not sent.
import type { Reason } from './reasons.ts';

/** A request to judge. */
export interface Question {
  readonly method: string;
  /** Absolute URL or a path. */
  readonly target: string;
  readonly host: string;
  readonly peer: string;
  /** Flat array of names and values. */
  readonly fields: readonly string[];
  /** Asked about as the verdict for a front, under `<reserved_prefix>/verdict/`. */
  readonly verdict?: 'nginx' | 'forward' | 'envoy' | undefined;
}

/** One limit that would be charged. */
export interface ShownLimit {
  readonly limit: string;
  readonly remaining: number;
  readonly reset_ms: number;
  /** Only while the shared store is away: what this replica admits of the limit by itself. */
  readonly local_share?: number;
  /** Only for limits that are `concurrent`: what the caller has under way on this replica. */
  readonly under_way?: number;
}

/** A setting that a verdict rests on, and where its value came from. */
export interface ShownSetting {
  /** Path, such as `routes.api.issuers`. */
  readonly setting: string;
  /** Words, names and figures; left out for blocks. */
  readonly value?: string;
  /** `default`: of the program. */
  readonly from: 'file' | 'environment' | 'default';
  /** `sidecar.yaml:14:40` or the name of the variable, and `(from defaults.limits)` where a route left it to `defaults`. */
  readonly at: string;
}

/** What of a verdict leads back to the configuration. */
export interface JudgedBy {
  /** Names the configuration that judged. */
  readonly config: string | undefined;
  readonly route: string | undefined;
  readonly rule: string | undefined;
  /** Names of limits. */
  readonly limits: readonly string[];
}

/** What stands in the configuration in force behind a verdict. */
export interface Behind {
  /** Places of the rule and of the route, as {@link ShownSetting.at}; undefined where the rule is no setting. */
  readonly rule_at: string | undefined;
  readonly route_at: string | undefined;
  readonly settings: readonly ShownSetting[];
  /** Name of the upstream of the route. */
  readonly upstream: string | undefined;
}

/** What the pipeline would do; nothing is charged or recorded. */
export interface Explanation {
  readonly allowed: boolean;
  readonly reason: Reason;
  readonly stage: string;
  readonly route: string | undefined;
  readonly rule: string | undefined;
  /** Names the configuration that it was judged by. */
  readonly config: string;
  readonly client_address: string;
  readonly subject: string | undefined;
  readonly client: string | undefined;
  readonly limits: readonly ShownLimit[];
  /** Flat array of names and values; empty when refused, and for verdicts, after which the front forwards. */
  readonly upstream_headers: readonly string[];
  /** Only for verdicts: what the front is answered; fields as a flat array. */
  readonly answer?: { readonly status: number; readonly headers: readonly string[] } | undefined;
}
