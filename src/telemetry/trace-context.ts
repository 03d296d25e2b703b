// W3C Trace Context: what a request says of the trace that it belongs to, and ids of our own. Whose word counts is decided in
// proxy/tracing.ts. https://www.w3.org/TR/trace-context/ (level 1, and the random flag of level 2).
import { randomBytes } from 'node:crypto';

/** What a `traceparent` says. */
export interface TraceParent {
  /** 32 hexadecimal digits, not all zero. */
  readonly traceId: string;
  /** 16 hexadecimal digits, not all zero: the span that the request was sent from. */
  readonly spanId: string;
  /** Whether whoever sent it records the trace. */
  readonly sampled: boolean;
  /** Whether the trace id is random, as level 2 says it. */
  readonly random: boolean;
}

const FORM = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;
/** Length of version 00, and of what versions to come begin with. */
const LENGTH = 55;
const NO_TRACE = '0'.repeat(32);
const NO_SPAN = '0'.repeat(16);
const SAMPLED = 1;
const RANDOM = 2;

/** Reads a `traceparent`; undefined for what must be taken as if it were not there (section 3.2.2). Higher versions are read by their beginning. */
export function readTraceparent(value: string): TraceParent | undefined {
  const [, version, traceId, spanId, flags] = FORM.exec(value.slice(0, LENGTH)) ?? [];
  if (version === undefined || traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  if (version === 'ff' || traceId === NO_TRACE || spanId === NO_SPAN) return undefined;
  if (value.length > LENGTH && (version === '00' || value[LENGTH] !== '-')) return undefined;
  const bits = Number.parseInt(flags, 16);
  return { traceId, spanId, sampled: (bits & SAMPLED) !== 0, random: (bits & RANDOM) !== 0 };
}

/** Spells one in version 00, the only one that we know. */
export function traceparent({ traceId, spanId, sampled, random }: TraceParent): string {
  const flags = (sampled ? SAMPLED : 0) | (random ? RANDOM : 0);
  return `00-${traceId}-${spanId}-0${flags}`;
}

const MAX_STATE_LENGTH = 512;
const MAX_STATE_MEMBERS = 32;
const LONG_MEMBER = 128;
const MEMBER = /^[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;

/**
 * Reads the `tracestate` that came with a good `traceparent`, all its lines joined by commas; undefined when it is empty or
 * malformed. At most 512 characters are kept, the long members going first and then the last ones (section 3.3.1.5).
 */
export function readTracestate(value: string): string | undefined {
  const members = value
    .split(',')
    .map((member) => member.replace(/^[ \t]+|[ \t]+$/g, ''))
    .filter((member) => member !== '');
  if (members.length === 0 || members.length > MAX_STATE_MEMBERS) return undefined;
  if (!members.every((member) => MEMBER.test(member))) return undefined;
  return shortened(members).join(',') || undefined;
}

function shortened(members: readonly string[]): readonly string[] {
  const isTooLong = (kept: readonly string[]) => kept.join(',').length > MAX_STATE_LENGTH;
  let kept = members;
  if (isTooLong(kept)) kept = kept.filter((member) => member.length <= LONG_MEMBER);
  while (isTooLong(kept)) kept = kept.slice(0, -1);
  return kept;
}

const POOL_BYTES = 3000;
let pool = '';
let used = 0;

/** Drawn in bulk, because this runs for every request of a traced sidecar. */
function draw(digits: number): string {
  if (used + digits > pool.length) {
    pool = randomBytes(POOL_BYTES).toString('hex');
    used = 0;
  }
  used += digits;
  return pool.slice(used - digits, used);
}

/** Id of a trace that begins here: 32 random hexadecimal digits. */
export const newTraceId = (): string => draw(32);

/** Id of a span: 16 random hexadecimal digits. */
export const newSpanId = (): string => draw(16);
