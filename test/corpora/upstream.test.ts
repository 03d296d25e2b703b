// Answers of a faulty or hostile upstream, from llhttp and RFC 9112: the client sees one clean answer or none, and the next
// request on its connection gets its own answer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  assertDeviations,
  caseFile,
  corpora,
  type Judged,
  type Row,
  rowsOf,
  runTool,
  split,
} from '../support/corpora.ts';
import { freePort } from '../support/free-port.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';

interface ResponseRow extends Row {
  readonly expect: { readonly class: string };
}

const JUDGED_LINE = /^(warn|FAIL) (\S+) (.*)$/;
const TOTAL = /(\d+)(?=[ ,}])/g;

/** One sidecar and one hostile upstream; returns the number of rows judged and those that did not pass. */
async function runPart(rows: readonly Row[]): Promise<{ judged: number; deviations: readonly Judged[] }> {
  const backend = await freePort();
  await using sidecar = await startSidecar(`http://127.0.0.1:${backend}`);
  using files = caseFile(rows);
  const printed = await runTool('run_upstream.mjs', [
    ...['--proxy', `127.0.0.1:${sidecar.port}`, '--backend', String(backend), '--cases', files.path],
    ...['--header', `Authorization: Bearer ${tokenFor()}`],
  ]);
  const lines = printed.trim().split('\n');
  const totals = lines.at(-1)?.match(TOTAL) ?? [];
  const deviations = lines.flatMap((line) => {
    const [, verdict, id, why] = JUDGED_LINE.exec(line) ?? [];
    return verdict && id && why ? [{ id, verdict, why }] : [];
  });
  return { judged: totals.reduce((sum, count) => sum + Number(count), 0), deviations };
}

if (corpora === undefined) {
  test('the corpora are not beside this repository (../shared/corpora), so none was run', () => {});
} else {
  test('no upstream answer reaches the client broken, or spoils the next one', async () => {
    const rows = rowsOf<ResponseRow>('http-upstream-responses').filter(
      (row) => row.expect.class !== 'parser_mode_only',
    );
    const parts = await Promise.all(split(rows, 4).map(runPart));
    assertDeviations(
      'http-upstream-responses',
      parts.flatMap(({ deviations }) => deviations),
    );
    assert.equal(
      parts.reduce((sum, { judged }) => sum + judged, 0),
      rows.length,
    );
  });
}
