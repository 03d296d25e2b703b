// The neutral corpora that lie beside the repository in CI (../shared/corpora): their rows, their runners as child
// processes, and the file of accepted deviations. `npm test` does not need them: without the folder `corpora` is undefined.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = new URL('../../../shared/corpora/', import.meta.url);

/** The folder with the corpora; undefined when it is not there. */
export const corpora: URL | undefined = existsSync(root) ? root : undefined;

/** What every row has. */
export interface Row {
  readonly id: string;
}

/** The rows of one corpus. */
export function rowsOf<T extends Row>(corpus: string): readonly T[] {
  return JSON.parse(readFileSync(new URL(`${corpus}/cases.json`, root), 'utf8')) as T[];
}

/** One judged row of a runner. */
export interface Judged {
  readonly id: string;
  readonly verdict: string;
  readonly why: string;
}

/**
 * Fails on a deviation that accepted-deviations.json does not argue under `corpus`, and on an entry there that no longer
 * deviates.
 */
export function assertDeviations(corpus: string, judged: readonly Judged[]): void {
  const file = new URL('../corpora/accepted-deviations.json', import.meta.url);
  const all = JSON.parse(readFileSync(file, 'utf8')) as Record<string, Record<string, string>>;
  const accepted = all[corpus] ?? {};
  const found = new Set(judged.map(({ id }) => id));
  const unlisted = judged.filter(({ id }) => accepted[id] === undefined);
  const stale = Object.keys(accepted).filter((id) => !found.has(id));
  assert.deepEqual({ unlisted, stale }, { unlisted: [], stale: [] });
}

/** Runs one of the corpora's own tools; resolves with what it printed, rejects when it failed. */
export async function runTool(tool: string, args: readonly string[], timeoutMs = 300_000): Promise<string> {
  const path = fileURLToPath(new URL(`tools/${tool}`, root));
  const limits = { timeout: timeoutMs, killSignal: 'SIGKILL' } as const;
  const child = spawn(process.execPath, [path, ...args], { stdio: ['ignore', 'pipe', 'pipe'], ...limits });
  let printed = '';
  child.stdout.on('data', (chunk: Buffer) => {
    printed += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    printed += chunk.toString();
  });
  const [code] = (await once(child, 'close')) as [number | null];
  assert.equal(code, 0, `${tool} ended with ${code}: ${printed.slice(-2000)}`);
  return printed;
}

/** Writes `rows` into a file of their own, so that several runners can share a corpus. */
export function caseFile(rows: readonly Row[]): Disposable & { readonly path: string; readonly results: string } {
  const dir = mkdtempSync(join(tmpdir(), 'doorward-corpus-'));
  const path = join(dir, 'cases.json');
  writeFileSync(path, JSON.stringify(rows));
  return {
    path,
    results: join(dir, 'results.jsonl'),
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** Cuts `rows` into at most `parts` runs of about the same length. */
export function split<T>(rows: readonly T[], parts: number): readonly (readonly T[])[] {
  const length = Math.ceil(rows.length / parts);
  return Array.from({ length: parts }, (_, at) => rows.slice(at * length, (at + 1) * length)).filter(
    (part) => part.length > 0,
  );
}
