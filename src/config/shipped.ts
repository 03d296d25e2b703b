// A configuration on its way to a worker process of the same program: what loading found out, secrets included, so that all
// processes serve the very same configuration and a restarted one cannot read newer files than its siblings.
import { type LoadedConfig, sealConfig } from './loaded.ts';
import type { Source } from './places.ts';
import type { Problem } from './problem.ts';
import { Secrets } from './secrets.ts';
import type { Tree } from './tree.ts';

/** Plain values that a structured clone carries. Holds secrets: for the channel between our own processes and nothing else. */
export interface ShippedConfig {
  readonly file: string;
  readonly effective: Tree;
  readonly sources: ReadonlyMap<string, Source>;
  readonly secrets: ReadonlyMap<string, string>;
  readonly digests: ReadonlyMap<string, string>;
  readonly warnings: readonly Problem[];
}

/** Packs a configuration. */
export function shipConfig({ file, effective, sources, secrets, digests, warnings }: LoadedConfig): ShippedConfig {
  return { file, effective, sources, secrets: secrets.reveal(), digests, warnings };
}

/** Unpacks it: equal to the one that was packed, its hash included. */
export function unshipConfig(shipped: ShippedConfig): LoadedConfig {
  return sealConfig({ ...shipped, secrets: Secrets.of(shipped.secrets) });
}
