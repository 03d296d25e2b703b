// The trace of a request as it comes in: whose word about it counts, whether it is recorded here, and what the upstream is told.
// A request that is not recorded gets a line for the upstream and nothing else; without `tracing` none of this is run. The
// spans of those that are recorded are made by trace-spans.ts when the request is over.
import type { TracingConfig } from '../config/schema-tracing.ts';
import type { Clock } from '../core/clock.ts';
import { findField } from '../http/headers.ts';
import {
  newSpanId,
  newTraceId,
  readTraceparent,
  readTracestate,
  type TraceParent,
  traceparent,
} from '../telemetry/trace-context.ts';
import type { Exchange } from './exchange.ts';
import { type Stage, waiting } from './stage.ts';
import { RequestSpan } from './trace-spans.ts';

/** What a configuration says of traces. */
export interface TracePlan {
  readonly believe: TracingConfig['believe'];
  /** Share of requests recorded, of those for which nobody who is believed has decided. */
  readonly ratio: number;
  readonly clock: Clock;
  /** From 0 up to 1; tests replace it. */
  readonly random: () => number;
  /** Takes the spans of a request that is over, each as JSON; never waits. */
  readonly add: (spans: readonly string[]) => void;
}

/** The stage, with the notes that spans are made from; stages that none is made of are left as they are. */
export function withTrace(stage: Stage): Stage {
  const { run } = stage;
  switch (stage.name) {
    case 'canonicalise':
      return {
        ...stage,
        run(exchange, resume) {
          const result = run(exchange, resume);
          beginTrace(exchange);
          return result;
        },
      };
    case 'authenticate':
      return {
        ...stage,
        run(exchange, resume) {
          const { span } = exchange;
          if (span === undefined) return run(exchange, resume);
          span.verifyAtMs = now(exchange);
          const result = run(exchange, resume);
          span.verifiedAtOnce = result !== waiting;
          return result;
        },
      };
    case 'check':
      return noting(stage, 'checkAtMs');
    case 'authorize':
      return noting(stage, 'checkedAtMs');
    default:
      return stage;
  }
}

function noting(stage: Stage, mark: 'checkAtMs' | 'checkedAtMs'): Stage {
  return {
    ...stage,
    run(exchange, resume) {
      if (exchange.span !== undefined) exchange.span[mark] = now(exchange);
      return stage.run(exchange, resume);
    },
  };
}

const now = ({ generation }: Exchange): number => generation.tracing?.clock.monotonicMs() ?? 0;

/** Decides about the trace of a request whose fields have been read. */
function beginTrace(exchange: Exchange): void {
  const { generation, fields, peer } = exchange;
  const plan = generation.tracing;
  if (plan === undefined || fields === undefined) return;
  const parent = believedParent(plan, peer.trusted, fields.traceparent);
  const isFlagBelieved = peer.trusted || plan.believe === 'everyone';
  const isWanted = parent !== undefined && isFlagBelieved ? parent.sampled : plan.random() < plan.ratio;
  const sampled = isWanted && exchange.kind !== 'explain';
  if (fields.tracestate !== undefined) {
    fields.tracestate = parent === undefined ? undefined : readTracestate(fields.tracestate);
  }
  const traceId = parent?.traceId ?? newTraceId();
  const random = parent?.random ?? false;
  // Whoever records further on hangs its spans below the last one that exists.
  let spanId = parent?.spanId;
  if (sampled) {
    exchange.span = new RequestSpan(traceId, parent?.spanId, fields.tracestate);
    spanId = exchange.span.upstreamSpanId;
  }
  exchange.traceparent = traceparent({ traceId, spanId: spanId ?? newSpanId(), sampled, random });
}

function believedParent({ believe }: TracePlan, isTrusted: boolean, sent: string | undefined): TraceParent | undefined {
  if (sent === undefined || believe === 'nobody') return undefined;
  return isTrusted || believe !== 'trusted_proxies' ? readTraceparent(sent) : undefined;
}

const TRACE_ID_AT = 3;
const TRACE_ID_LENGTH = 32;

/** Id of the trace for the decision record: ours, or without `tracing` what a trusted proxy says. */
export function traceIdOf({ traceparent: ours, generation, peer, rawFields }: Exchange): string | undefined {
  if (ours !== undefined) return ours.slice(TRACE_ID_AT, TRACE_ID_AT + TRACE_ID_LENGTH);
  if (generation.tracing !== undefined || !peer.trusted) return undefined;
  const sent = findField(rawFields, 'traceparent');
  return sent === undefined ? undefined : readTraceparent(sent)?.traceId;
}
