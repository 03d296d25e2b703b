// The product of loading: one frozen, complete configuration with everything that belongs to it. Reload makes new ones and
// never changes one in use.
import { configHash } from './fingerprint.ts';
import { formatPath, formatSource, type Path, type Source } from './places.ts';
import type { Problem } from './problem.ts';
import { type SidecarConfig, sidecarSchema } from './schema.ts';
import { resolveBeside, type Secrets } from './secrets.ts';
import { deepFreeze, type Tree } from './tree.ts';

/** A configuration that holds. */
export interface LoadedConfig {
  /** The file as it was named. */
  readonly file: string;
  /**
   * Validated, complete and deep-frozen: routes carry their upstream, issuers, limits, sizes and times, issuers their
   * algorithms; prefixes have no trailing slash, hosts are lower-case, `keys.file` is absolute.
   */
  readonly config: SidecarConfig;
  /** SHA-256 (hex) of the configuration, the secrets and the key set files behind it; equal on replicas that agree. */
  readonly hash: string;
  /** The secrets that `config` refers to. */
  readonly secrets: Secrets;
  /** Where every effective value came from, by path such as `routes.api.limits[0]`. */
  readonly sources: ReadonlyMap<string, Source>;
  /** Absolute paths of the files whose change matters: this one, secrets, key sets. */
  readonly watchedFiles: readonly string[];
  /** Digest of each watched file as it was read; `missing` when it was not there. */
  readonly digests: ReadonlyMap<string, string>;
  /** What is allowed and probably not meant. */
  readonly warnings: readonly Problem[];
  /** The complete configuration in the spelling of the file; what printConfig shows. */
  readonly effective: Tree;
}

/**
 * Something about a setting, with its place or that of the nearest block around it that somebody wrote; the file alone where
 * nobody did.
 */
export function problemAt(
  { file, sources }: Pick<LoadedConfig, 'file' | 'sources'>,
  at: Path,
  message: string,
): Problem {
  const written = at
    .map((_, index) => sources.get(formatPath(at.slice(0, at.length - index))))
    .find((source) => source !== undefined && source.kind !== 'default');
  const place = written === undefined ? file : formatSource(written);
  return { place, path: formatPath(at), message, nearest: undefined };
}

/** By which a configuration is named in figures and kept decisions: the first 48 bits of its hash, in hex. */
export const configId = ({ hash }: Pick<LoadedConfig, 'hash'>): string => hash.slice(0, 12);

/** What is known before the configuration is built. */
export interface Unsealed {
  readonly file: string;
  readonly effective: Tree;
  readonly sources: ReadonlyMap<string, Source>;
  readonly secrets: Secrets;
  readonly digests: ReadonlyMap<string, string>;
  readonly warnings: readonly Problem[];
}

/** Builds the configuration from its complete tree, which must satisfy the schema. */
export function sealConfig(parts: Unsealed): LoadedConfig {
  const config = sidecarSchema.parse(parts.effective, { jitless: true });
  const digestOf = (file: string) => parts.digests.get(resolveBeside(parts.file, file));
  const hash = configHash(config, parts.secrets, digestOf, sidecarSchema);
  for (const { keys } of Object.values(config.issuers)) {
    if (keys.file !== undefined) keys.file = resolveBeside(parts.file, keys.file);
  }
  return Object.freeze({
    ...parts,
    effective: deepFreeze(parts.effective),
    config: deepFreeze(config),
    hash,
    watchedFiles: Object.freeze([...parts.digests.keys()]),
  });
}
