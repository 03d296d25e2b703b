// Renders the charts of deploy/helm with helm-render (Go's template engine and sprig, built once), because helm itself is in no
// package registry; see helm-render/main.go for what differs.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { ensureGo } from '../support/system-packages.ts';
import { type Manifest, manifestsIn } from './manifests.ts';

const charts = fileURLToPath(new URL('../../deploy/helm/', import.meta.url));
/** A renderer; dispose it to take the built program away. */
export interface Renderer extends Disposable {
  /** Objects of a chart, and the text of its NOTES. Throws with what the engine says. */
  render(chart: string, release: string, values?: object): { readonly manifests: Manifest[]; readonly notes: string };
}

/** Builds helm-render. */
export function openRenderer(): Renderer {
  const GOPATH = ensureGo();
  const folder = mkdtempSync(join(tmpdir(), 'doorward-helm-'));
  const program = join(folder, 'helm-render');
  const env = { ...process.env, GO111MODULE: 'off', GOPATH, GOFLAGS: '' };
  execFileSync('go', ['build', '-o', program, join(import.meta.dirname, 'helm-render/main.go')], { env });
  return {
    render(chart, release, values = {}) {
      const file = join(folder, 'values.json');
      writeFileSync(file, JSON.stringify(values));
      const text = execFileSync(program, [join(charts, chart), release, file], { encoding: 'utf8', stdio: 'pipe' });
      const parts = text.split(/^---\n(?=# Source: )/m);
      const notes = parts.find((part) => part.includes('NOTES.txt')) ?? '';
      return { manifests: manifestsIn(parts.filter((part) => part !== notes).join('---\n')), notes };
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** Values of a chart as it ships. */
export function chartValues(chart: string): Record<string, unknown> {
  return parse(readFileSync(join(charts, chart, 'values.yaml'), 'utf8'));
}
