// Holds the configuration in force and replaces it as a whole. A file that does not hold changes nothing; settings that
// only a restart can change keep their old values, and are named.

import type { z } from 'zod';
import { type LoadedConfig, problemAt, sealConfig } from './loaded.ts';
import { formatPath, type Path, type Source } from './places.ts';
import { ConfigError, type Problem } from './problem.ts';
import { sidecarSchema } from './schema.ts';
import { type Secrets, secretReferences } from './secrets.ts';
import { metaOf, shapesOf } from './shape.ts';
import { canonicalJson, isTree, replaceAt, type Tree, valueAt } from './tree.ts';
import { validateConfig } from './validate.ts';

/** What a reload did. */
export type ReloadOutcome =
  | {
      readonly ok: true;
      /** False when `current().config` stays the same object; lines and digests beside it may be new. */
      readonly changed: boolean;
      /** Settings whose change waits for a restart; the old values stay in force. */
      readonly restartNeeded: readonly string[];
    }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** A configuration that holds and is not in force yet; `take` puts it in force. */
export type PreparedReload =
  | (Extract<ReloadOutcome, { ok: true }> & { readonly next: LoadedConfig; take(): void })
  | Extract<ReloadOutcome, { ok: false }>;

/** The configuration in force. */
export interface ConfigHolder {
  /** One whole, frozen configuration; take it once per request. */
  current(): LoadedConfig;
  /**
   * Loads again. Never throws for what the file holds; the last good configuration stays in force. `accept` is called with
   * a changed configuration before it comes into force, and may refuse it with a {@link ConfigError}.
   */
  reload(accept?: (next: LoadedConfig) => void): ReloadOutcome;
  /** Loads again and changes nothing, for those who have to ask others before it comes into force. */
  prepare(): PreparedReload;
}

/** Holds `first`; `load` makes the next one and may throw {@link ConfigError}. */
export function holdConfig(first: LoadedConfig, load: () => LoadedConfig): ConfigHolder {
  let current = first;
  const prepare = (): PreparedReload =>
    orProblems(() => {
      const { config: next, restartNeeded } = keepRestartSettings(current, load());
      const changed = next.hash !== current.hash;
      const take = () => {
        current = changed ? next : Object.freeze({ ...next, config: current.config });
      };
      return { ok: true, changed, restartNeeded, next, take };
    });
  const reload = (accept?: (next: LoadedConfig) => void): ReloadOutcome => {
    const prepared = prepare();
    if (!prepared.ok) return prepared;
    const { changed, restartNeeded, next, take } = prepared;
    return orProblems(() => {
      if (changed) accept?.(next);
      take();
      return { ok: true, changed, restartNeeded };
    });
  };
  return { current: () => current, reload, prepare };
}

function orProblems<T>(work: () => T): T | Extract<ReloadOutcome, { ok: false }> {
  try {
    return work();
  } catch (error) {
    if (error instanceof ConfigError) return { ok: false, problems: error.problems };
    throw error;
  }
}

interface Kept {
  readonly config: LoadedConfig;
  readonly restartNeeded: readonly string[];
}

function keepRestartSettings(old: LoadedConfig, next: LoadedConfig): Kept {
  const paths = restartPaths({ old, next }, sidecarSchema, []);
  if (paths.length === 0) return { config: next, restartNeeded: [] };
  const effective = structuredClone(next.effective) as Tree;
  for (const path of paths) replaceAt(effective, path, valueAt(old.effective, path));
  const secrets = keptSecrets(paths, old, next.secrets);
  const config = sealConfig({ ...next, effective, secrets, sources: keptSources(paths, old, next) });
  refuseIfBroken(config, next);
  return { config, restartNeeded: paths.map(formatPath) };
}

interface Pair {
  readonly old: LoadedConfig;
  readonly next: LoadedConfig;
}

/** Paths of restart settings that differ: as deep as both sides have them. */
function restartPaths(pair: Pair, schema: z.ZodType, path: Path): Path[] {
  const [before, after] = [valueAt(pair.old.effective, path), valueAt(pair.next.effective, path)];
  const needsRestart = metaOf(schema).reload === 'restart';
  const shape = shapesOf(schema).find(({ kind }) => kind === 'object' || kind === 'record');
  const descend = isTree(before) && isTree(after) && shape && shapesOf(schema).length === 1;
  if (descend && (shape.kind === 'object' || shape.kind === 'record')) {
    const keys = shape.kind === 'object' ? Object.keys(shape.fields) : Object.keys(before);
    const below = (key: string) => (shape.kind === 'object' ? shape.fields[key]! : shape.value);
    return keys.flatMap((key) => restartPaths(pair, below(key), [...path, key]));
  }
  return needsRestart && fingerprint(before, schema, pair.old) !== fingerprint(after, schema, pair.next) ? [path] : [];
}

/** The value with the digests of the secrets in it, so that a rotated password counts as a change. */
function fingerprint(value: unknown, schema: z.ZodType, { secrets }: LoadedConfig): string {
  const digests = secretReferences(value, schema).map(([, reference]) => secrets.digest(reference));
  return canonicalJson([value, digests]);
}

function keptSecrets(paths: readonly Path[], old: LoadedConfig, secrets: Secrets): Secrets {
  const within = ([path]: [Path, unknown]) => paths.some((kept) => formatPath(path).startsWith(formatPath(kept)));
  const references = secretReferences(old.effective, sidecarSchema).filter(within);
  return secrets.keeping(
    references.map(([, reference]) => reference),
    old.secrets,
  );
}

function keptSources(paths: readonly Path[], old: LoadedConfig, next: LoadedConfig): Map<string, Source> {
  const kept = paths.map(formatPath);
  const isKept = (key: string) =>
    kept.some((path) => key === path || key.startsWith(`${path}.`) || key.startsWith(`${path}[`));
  return new Map([
    ...[...next.sources].filter(([key]) => !isKept(key)),
    ...[...old.sources].filter(([key]) => isKept(key)),
  ]);
}

/** New live settings beside old restart settings may contradict one another; such a mixture is refused. */
function refuseIfBroken({ config, effective, secrets, file }: LoadedConfig, next: LoadedConfig): void {
  const { problems } = validateConfig({ config, tree: effective, secrets, file });
  if (problems.length === 0) return;
  throw new ConfigError(
    problems.map(({ path, message, nearest }) => ({
      ...problemAt(next, path, `${message}; with the settings that wait for a restart`),
      nearest,
    })),
  );
}
