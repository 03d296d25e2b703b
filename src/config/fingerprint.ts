// Digests that tell one configuration from another: of files, for the watcher, and of the whole, for operators who compare
// replicas. Secrets enter as digests inside the one hash, so that a rotation shows and the secret does not.
import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { z } from 'zod';
import type { SidecarConfig } from './schema.ts';
import { type Secrets, secretReferences } from './secrets.ts';
import { canonicalJson, replaceAt, type Tree } from './tree.ts';

/** SHA-256 of some bytes, hex. */
export function digestBytes(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex');
}

/** SHA-256 of a file's bytes; undefined while it cannot be read. */
export function digestFile(path: string): string | undefined {
  try {
    return digestBytes(readFileSync(path));
  } catch {
    return undefined;
  }
}

/** Hash of the canonical configuration with digests for secrets and key set files. */
export function configHash(
  config: SidecarConfig,
  secrets: Secrets,
  keySetDigest: (file: string) => string | undefined,
  schema: z.ZodType,
): string {
  const copy = structuredClone(config) as unknown as Tree;
  for (const [path, reference] of secretReferences(copy, schema)) {
    replaceAt(copy, path, { ...reference, value: undefined, digest: secrets.digest(reference) });
  }
  for (const [name, { keys }] of Object.entries(config.issuers)) {
    if (keys.file !== undefined) replaceAt(copy, ['issuers', name, 'keys', 'digest'], keySetDigest(keys.file));
  }
  return hash('sha256', canonicalJson(copy), 'hex');
}
