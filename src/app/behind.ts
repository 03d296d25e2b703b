// What stands in the configuration behind a verdict: looked up when an operator asks, never when a request is decided.
import { configId, type LoadedConfig } from '../config/loaded.ts';
import { formatPath, formatSource, type Path } from '../config/places.ts';
import { valueAt } from '../config/tree.ts';
import type { Behind, JudgedBy, ShownSetting } from '../core/explanation.ts';

/** What of a route decides about its requests, beside what it matches. */
const OF_ROUTE = ['auth', 'issuers', 'limits', 'upstream', 'require', 'mode'];
const OF_ISSUER = ['issuer', 'audience'];
const OF_LIMIT = ['key', 'rate', 'tiers', 'concurrent', 'mode'];

const FROM = { file: 'file', env: 'environment', default: 'default' } as const;

/** Places are those of `loaded`; undefined when another configuration judged. */
export function behind(loaded: LoadedConfig, { config, route, rule, limits }: JudgedBy): Behind | undefined {
  if (config !== configId(loaded)) return undefined;
  const shown = (...paths: Path[]) => paths.map((path) => settingAt(loaded, path)).filter((row) => row !== undefined);
  const below = (path: Path, keys: readonly string[]) => shown(...keys.map((key) => [...path, key]));
  const issuers = route === undefined ? undefined : valueAt(loaded.effective, ['routes', route, 'issuers']);
  const upstream = route === undefined ? undefined : valueAt(loaded.effective, ['routes', route, 'upstream']);
  return {
    rule_at: placesOf(shown(...rulePaths(rule))),
    route_at: route === undefined ? undefined : placesOf(shown(['routes', route])),
    settings: [
      ...(route === undefined ? [] : below(['routes', route], OF_ROUTE)),
      ...(Array.isArray(issuers) ? issuers.flatMap((name) => below(['issuers', String(name)], OF_ISSUER)) : []),
      ...limits.flatMap((name) => below(['limits', name], OF_LIMIT)),
    ],
    upstream: typeof upstream === 'string' ? upstream : undefined,
  };
}

const placesOf = (rows: readonly ShownSetting[]) => rows.map(({ at }) => at).join(', ') || undefined;

/** The settings that a rule names: `limits a, b`, or a path. What was wrong with a token is a sentence, and names none. */
function rulePaths(rule: string | undefined): Path[] {
  const [, limits] = /^limits (.+)$/.exec(rule ?? '') ?? [];
  if (limits !== undefined) return limits.split(', ').map((name) => ['limits', name]);
  return rule !== undefined && /^[a-z_]+(\.[a-z0-9_]+)+$/.test(rule) ? [rule.split('.')] : [];
}

/** Undefined where nothing stands there, not even a default. */
function settingAt({ effective, sources }: LoadedConfig, path: Path): ShownSetting | undefined {
  const value = valueAt(effective, path);
  const setting = formatPath(path);
  const source = sources.get(setting);
  if (value === undefined || source === undefined) return undefined;
  const words = [value].flat();
  const isPlain = words.every((word) => typeof word !== 'object');
  return { setting, ...(isPlain && { value: words.join(', ') }), from: FROM[source.kind], at: formatSource(source) };
}
