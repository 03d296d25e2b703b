// Traces of the real program with two worker processes: each sends its own spans, and one scrape counts all of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually, several, tokens } from '../app/several.ts';
import { otlpReceiver } from '../support/otlp-receiver.ts';

test('every worker sends its spans under its own instance, and the rest of them when the program ends', async () => {
  await using collector = await otlpReceiver();
  const it = await several({ tracing: { endpoint: collector.url, ratio: 1 } });
  const instances = () =>
    new Set(collector.messages.map(({ text }) => /instance\.id[^}]*Value":"([\w-]+)"/.exec(text)?.[1]));
  {
    await using _ = it;
    await eventually(async () => {
      await Promise.all(tokens(10).map((token) => it.status(token)));
      return instances().size === 2;
    }, 'both workers have sent something');
    const delivered = async () => (await it.metric('doorward_trace_spans_total{outcome="delivered"}')) / 4;
    await eventually(async () => (await delivered()) === it.upstream.seen.length, 'one scrape counts all spans');
    await Promise.all(tokens(10).map((token) => it.status(token)));
    it.program.signal('SIGTERM');
    await it.program.ended;
  }
  assert.equal(instances().has(undefined), false);
  assert.equal(collector.spans.length, 4 * it.upstream.seen.length);
});
