// Field types that sidecar.yaml is made of: durations, sizes, rates, secrets, names. Each reads the text people write and
// yields the number the program uses; bare numbers are refused, because nobody can see their unit. What needs more than one
// value to judge (references, overlaps) is left to validate.ts.
import { z } from 'zod';
import { parseDuration, parseMoment, parseRate, parseSize } from '../core/units.ts';

/** Whether a change of the setting takes effect on reload, or only after a restart. */
export type Reload = 'live' | 'restart';

/** Metadata that every setting carries: one doc line, and how a change takes effect. */
export const doc = (description: string, reload: Reload = 'live') => ({ description, reload });

const spelled = <T>(what: string, parse: (text: string) => T | undefined, pattern: string) =>
  z
    .string({ error: `needs ${what}` })
    .meta({ pattern })
    .transform((text, context) => {
      const parsed = parse(text);
      if (parsed !== undefined) return parsed;
      context.addIssue({ code: 'custom', message: `needs ${what}` });
      return z.NEVER;
    });

const DAY_MS = 86_400_000;
/** Longest duration that a timer can hold: setTimeout fires at once above 2^31 - 1 ms (24.8 days). */
const LONGEST_TIMER_MS = 24 * DAY_MS;
const LONGEST_MS = 3650 * DAY_MS;

/**
 * Milliseconds, written `250ms 30s 15m 24h 90d`. 0 is refused unless `zero`, because to Node a timeout of 0 is none.
 * At most 24d, what a timer holds, unless `span`: a span of time that is compared and never waited for.
 */
export const duration = (options: { readonly zero?: boolean; readonly span?: boolean } = {}) =>
  spelled(
    `a duration such as 250ms, 30s, 15m, 24h or 90d${options.zero ? '' : ', above 0'}, at most ${options.span ? '3650d' : '24d'}`,
    (text) => {
      const ms = parseDuration(text);
      if (ms === undefined || (ms === 0 && !options.zero)) return undefined;
      return ms <= (options.span ? LONGEST_MS : LONGEST_TIMER_MS) ? ms : undefined;
    },
    `^${options.zero ? '' : '(?!0+[a-z])'}\\d{1,9}(ms|s|m|h|d)$`,
  );

const LARGEST_SIZE = 1024 ** 4;

/** Bytes, written `512B 16KiB 10MiB`; from 1B to 1024GiB. */
export const size = () =>
  spelled(
    'a size such as 16KiB or 10MiB, above 0, at most 1024GiB',
    (text) => {
      const bytes = parseSize(text);
      return bytes !== undefined && bytes > 0 && bytes <= LARGEST_SIZE ? bytes : undefined;
    },
    '^(?!0+[A-Z])\\d{1,9}(B|KiB|MiB|GiB)$',
  );

/** A {@link Rate}, written `20/1m`. */
export const rate = () =>
  spelled('a rate such as 20/1m (whole requests from 1, a window from 1s)', parseRate, '^[1-9]\\d*/\\d+(s|m|h|d)$');

/** Milliseconds since the epoch, written `2026-12-31` (00:00 UTC) or `2026-12-31T18:00:00Z`. */
export const moment = () =>
  spelled(
    'a date such as 2026-12-31 (00:00 UTC) or 2026-12-31T18:00:00Z',
    parseMoment,
    '^\\d{4}-\\d{2}-\\d{2}(T\\d{2}:\\d{2}:\\d{2}(Z|[+-]\\d{2}:\\d{2}))?$',
  );

/** Names of upstreams, issuers, limits, routes and tiers. */
export const name = () =>
  z.string().regex(/^[a-z][a-z0-9_]*$/, 'needs a name of a-z, 0-9 and _ that starts with a letter');

/** A map from {@link name} to something. */
export const named = <T extends z.ZodType>(value: T) => z.record(name(), value);

/** Where a secret comes from; never the secret itself, but for `value`, which `check --production` refuses. */
export const secret = () =>
  z
    .union(
      [
        z.strictObject({
          env: z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'needs the name of an environment variable'),
        }),
        z.strictObject({ file: z.string().min(1) }),
        z.strictObject({ value: z.string().min(1) }),
      ],
      { error: 'needs a secret reference: {env: NAME}, {file: path} or {value: "…"}' },
    )
    .meta({ secret: true });

/** A secret reference as it stands in the file; config/secrets.ts resolves it. */
export type SecretReference = z.output<ReturnType<typeof secret>>;

/** One thing or a list of it; always read as a list. */
export const oneOrMany = <T extends z.ZodType>(value: T) =>
  z
    .union([value, z.array(value).min(1)])
    .transform((given) => (Array.isArray(given) ? given : [given]) as z.output<T>[]);

/** A claim: a top-level name taken literally (never split at dots), or a list of names as a path. */
export const claimPath = () => oneOrMany(z.string().min(1));

const LISTEN_FORM = 'needs host:port, such as 127.0.0.1:8080';

/** `host:port`, `[v6]:port`, or `off` where allowed. */
export const listenAddress = () =>
  z
    .string({ error: LISTEN_FORM })
    .regex(/^(\[[0-9a-fA-F:]+\]|[^\s:[\]]+):\d{1,5}$/, { error: LISTEN_FORM, abort: true })
    .refine((text) => Number(text.slice(text.lastIndexOf(':') + 1)) <= 65_535, LISTEN_FORM);

const UPSTREAM_FORM =
  'needs an http:// or https:// origin without path, such as http://127.0.0.1:3000, or unix:/path/of.sock';
/** What the kernel takes for the path of a socket, without its final NUL. */
const LONGEST_SOCKET_PATH = 107;

/** Where an application listens: an http or https origin, or the absolute path of a Unix socket. */
export const upstreamUrl = () =>
  z.string({ error: UPSTREAM_FORM }).refine((text) => {
    if (!text.startsWith('unix:')) return originUrl().safeParse(text).success;
    const path = text.slice('unix:'.length);
    return (
      /^\/[^\s?#%]*[^\s?#%/]$/.test(path) && !path.startsWith('//') && Buffer.byteLength(path) <= LONGEST_SOCKET_PATH
    );
  }, UPSTREAM_FORM);

const ORIGIN_FORM = 'needs an http:// or https:// origin without path, such as http://127.0.0.1:3000';

/** An http or https origin without path, query or credentials. */
export const originUrl = () =>
  z.string({ error: ORIGIN_FORM }).refine((text) => {
    const url = URL.parse(text);
    return (
      url !== null &&
      /^https?:$/.test(url.protocol) &&
      url.pathname === '/' &&
      !url.search &&
      !url.hash &&
      !url.username
    );
  }, ORIGIN_FORM);
