// Raw requests of Http11Probe, AWS' desync guardian, Node core and llhttp at a real sidecar, with a good token in each first
// request. Nothing that the strict backend receives may lack our identity header, or break a rule of the wire.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertDeviations, corpora } from '../support/corpora.ts';
import { runRawCorpus } from '../support/raw-corpus.ts';

const corpusOf = [
  { corpus: 'http-http11probe', cases: 209, parts: 3 },
  { corpus: 'http-desync-guardian', cases: 159, parts: 2 },
  { corpus: 'http-llhttp', cases: 166, parts: 2 },
  { corpus: 'http-node-core', cases: 36, parts: 1 },
  { corpus: 'upgrade-websocket-h2c', cases: 43, parts: 1 },
];

if (corpora === undefined) {
  test('the corpora are not beside this repository (../shared/corpora), so none was run', () => {});
} else {
  test('raw requests are refused or forwarded as their corpora expect, or the deviation is argued', {
    concurrency: true,
  }, async (t) => {
    const runs = corpusOf.map(({ corpus, cases, parts }) =>
      t.test(`${corpus}: nothing is smuggled, and no verdict differs without a reason`, async () => {
        const { judged, deviations } = await runRawCorpus(corpus, parts);
        assertDeviations(corpus, deviations);
        assert.equal(judged, cases);
      }),
    );
    await Promise.all(runs);
  });
}
