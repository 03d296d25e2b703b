// Durations, sizes and rates as people write them. Bare numbers are refused everywhere: 30 of what?

const DURATION: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const SIZE: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** `limit` requests in any window of `windowMs`. */
export interface Rate {
  readonly limit: number;
  readonly windowMs: number;
}

/** `250ms`, `30s`, `15m`, `24h`, `90d` to milliseconds; undefined when it is none. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text);
  return match ? Number(match[1]) * (DURATION[match[2] as string] as number) : undefined;
}

/** `512B`, `16KiB`, `10MiB`, `1GiB` to bytes; undefined when it is none. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d{1,9})(B|KiB|MiB|GiB)$/.exec(text);
  return match ? Number(match[1]) * (SIZE[match[2] as string] as number) : undefined;
}

/** `20/1m` to a rate; undefined when it is none, when the quota is 0 or above 1e9, or the window is outside 1s..366d. */
export function parseRate(text: string): Rate | undefined {
  const slash = text.indexOf('/');
  const quota = text.slice(0, Math.max(slash, 0));
  const windowMs = parseDuration(text.slice(slash + 1));
  if (!/^[1-9]\d{0,9}$/.test(quota) || windowMs === undefined) return undefined;
  const limit = Number(quota);
  if (limit > 1e9 || windowMs < 1000 || windowMs > 366 * 86_400_000) return undefined;
  return { limit, windowMs };
}

/**
 * `2026-12-31` (its first moment, UTC) or `2026-12-31T18:00:00+01:00` to milliseconds since the epoch (RFC 3339, whole seconds);
 * undefined when it is none, or is a day that no month has.
 */
export function parseMoment(text: string): number | undefined {
  const match = /^(\d{4}-\d{2}-\d{2})(T\d{2}:\d{2}:\d{2}(?:Z|[+-]\d{2}:\d{2}))?$/.exec(text);
  if (match === null) return undefined;
  const day = Date.parse(`${match[1]}T00:00:00Z`);
  // Engines roll 30 February over into March.
  if (Number.isNaN(day) || !new Date(day).toISOString().startsWith(match[1] as string)) return undefined;
  const moment = match[2] === undefined ? day : Date.parse(text);
  return Number.isNaN(moment) ? undefined : moment;
}

/** Milliseconds since the epoch as {@link parseMoment} reads them, as short as whole seconds allow. */
export function formatMoment(ms: number): string {
  return new Date(ms)
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replace(/T00:00:00Z$/, '');
}

/** Milliseconds as the shortest exact duration, for messages: 90000 is `90s`. */
export function formatDuration(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    const size = DURATION[unit] as number;
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}
