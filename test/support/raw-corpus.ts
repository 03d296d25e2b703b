// Drives tools/run_raw.mjs: raw requests at a real sidecar whose only upstream is the runner's strict recording backend.
import { readFileSync } from 'node:fs';
import { caseFile, type Judged, type Row, rowsOf, runTool, split } from './corpora.ts';
import { freePort } from './free-port.ts';
import { startSidecar, tokenFor } from './sidecar.ts';

interface RawResult {
  readonly id: string;
  readonly cls: string;
  readonly verdict: 'pass' | 'warn' | 'FAIL';
  readonly statuses: readonly number[];
  readonly why: readonly string[];
}

/** What a raw corpus showed. */
export interface RawOutcome {
  readonly judged: number;
  /** Every row that did not pass; a warning is a deviation too. */
  readonly deviations: readonly Judged[];
}

/** Runs one corpus in `parts` processes at once, each with a sidecar and a backend port of its own. */
export async function runRawCorpus(corpus: string, parts: number): Promise<RawOutcome> {
  const results = (await Promise.all(split(rowsOf(corpus), parts).map(runPart))).flat();
  const deviations = results
    .filter(({ verdict }) => verdict !== 'pass')
    .map(({ id, verdict, cls, statuses, why }) => ({
      id,
      verdict,
      why: `${cls} [${statuses.join(' ')}] ${why.join('; ')}`,
    }));
  return { judged: results.length, deviations };
}

async function runPart(rows: readonly Row[]): Promise<readonly RawResult[]> {
  const backend = await freePort();
  await using sidecar = await startSidecar(`http://127.0.0.1:${backend}`, {
    proxy: { bad_tokens: '1000000/1m' },
    log: { decisions: { allow: 0, deny: 0 } },
  });
  using files = caseFile(rows);
  const token = tokenFor({ exp: Math.floor(Date.now() / 1000) + 3600 });
  await runTool('run_raw.mjs', [
    ...['--proxy', `127.0.0.1:${sidecar.port}`, '--backend', String(backend), '--cases', files.path],
    ...['--inject', `Authorization: Bearer ${token}`, '--mark', 'x-auth-subject', '--id', 'X-Auth-Subject'],
    // Silence is judged after `timeout`; the default of 900 ms is short for a busy machine.
    ...['--timeout', '2500', '--out', files.results],
  ]);
  const lines = readFileSync(files.results, 'utf8').trim().split('\n');
  return lines.map((line) => JSON.parse(line) as RawResult);
}
