// What manifests render to, committed, so that a change of a template shows what it does. `DEPLOY_SNAPSHOTS=write` rewrites
// them.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { parseAllDocuments, stringify } from 'yaml';
import type { Manifest } from './manifests.ts';

/** Compares with the file of this name in snapshots/, as values: comments and order of keys do not count. */
export function assertSnapshot(name: string, manifests: readonly Manifest[]): void {
  const file = new URL(`snapshots/${name}`, import.meta.url);
  if (process.env.DEPLOY_SNAPSHOTS === 'write')
    writeFileSync(file, manifests.map((manifest) => stringify(manifest, { lineWidth: 0 })).join('---\n'));
  assert.deepEqual(manifests, committedManifests(name), `${name} differs; DEPLOY_SNAPSHOTS=write rewrites it`);
}

/** What stands in the file of this name in snapshots/. */
export function committedManifests(name: string): readonly Manifest[] {
  const text = readFileSync(new URL(`snapshots/${name}`, import.meta.url), 'utf8');
  return parseAllDocuments(text).map((document) => document.toJS());
}
