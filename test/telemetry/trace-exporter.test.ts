// The way to the collector, before real servers that answer, refuse, stall and are not there: what is delivered, what is tried
// again and how often, what is dropped, and that each span is counted exactly once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type SpanOutcome, TraceExporter, type TraceTarget } from '../../src/telemetry/trace-exporter.ts';
import { envelope, spanKind, spanText } from '../../src/telemetry/trace-otlp.ts';
import { testAuthority } from '../support/certificates.ts';
import { type OtlpReceiver, otlpReceiver, waitFor } from '../support/otlp-receiver.ts';

const PACE = { gatherMs: 20, firstRetryMs: 5 };

function exporterTo(url: string, more: Partial<TraceTarget> = {}) {
  const counts: Partial<Record<SpanOutcome, number>> = {};
  const troubles: (string | undefined)[] = [];
  const target: TraceTarget = {
    url: `${url}/v1/traces`,
    headers: {},
    ca: undefined,
    timeoutMs: 20_000,
    queue: 2048,
    envelope: envelope({ 'service.name': 'test' }, '1.2.3'),
    ...more,
  };
  const observer = {
    count: (outcome: SpanOutcome, spans: number) => {
      counts[outcome] = (counts[outcome] ?? 0) + spans;
    },
    trouble: (why: string | undefined) => void troubles.push(why),
  };
  return { exporter: new TraceExporter(target, observer, PACE), counts, troubles, target };
}

let made = 0;
const span = (): string => {
  made += 1;
  return spanText({
    traceId: made.toString(16).padStart(32, '0'),
    spanId: made.toString(16).padStart(16, '0'),
    parentSpanId: undefined,
    traceState: undefined,
    name: `span ${made}`,
    kind: spanKind.internal,
    startMs: 1_763_750_000_000.25,
    endMs: 1_763_750_000_001,
    attributes: { text: 'a"b', number: 7, yes: true, list: ['x', 'y'], absent: undefined },
    failed: false,
  });
};
const spans = (count: number) => Array.from({ length: count }, span);

const nameOf = (text: string) => (JSON.parse(text) as { name: string }).name;

async function settled(counts: Partial<Record<SpanOutcome, number>>, total: number) {
  const sum = () => Object.values(counts).reduce((all, count) => all + count, 0);
  await waitFor(() => sum() >= total, `${total} spans to be counted: ${JSON.stringify(counts)}`);
  assert.equal(sum(), total);
}

test('spans of many requests go out in one message, in order, with their values', async () => {
  await using receiver = await otlpReceiver();
  const { exporter, counts } = exporterTo(receiver.url);
  await using _ = exporter;
  const all = spans(9);
  for (let at = 0; at < 9; at += 3) exporter.add(all.slice(at, at + 3));
  await settled(counts, 9);
  assert.deepEqual(counts, { delivered: 9 });
  assert.deepEqual(receiver.messages.length, 1);
  assert.equal(receiver.messages[0]?.path, 'POST /v1/traces');
  assert.deepEqual(
    receiver.spans.map(({ name }) => name),
    all.map(nameOf),
  );
  const [first] = receiver.spans;
  assert.deepEqual(first?.attributes, { text: 'a"b', number: 7, yes: true, list: ['x', 'y'] });
  assert.deepEqual([first?.startNano, first?.endNano], [1763750000000250000n, 1763750000001000000n]);
  assert.deepEqual(receiver.resource, { 'service.name': 'test' });
});

test('a message holds at most 512 spans, and the next one goes at once', async () => {
  await using receiver = await otlpReceiver();
  const { exporter, counts } = exporterTo(receiver.url);
  await using _ = exporter;
  for (let at = 0; at < 1300; at += 1) exporter.add([span()]);
  await settled(counts, 1300);
  assert.equal(receiver.spans.length, 1300);
  assert.ok(receiver.messages.length >= 3);
});

for (const status of [429, 502, 503, 504]) {
  test(`${status} is tried again, and the spans arrive once`, async () => {
    await using receiver = await otlpReceiver();
    let refusals = 2;
    receiver.answer = () => ({ status: refusals-- > 0 ? status : 200 });
    const { exporter, counts, troubles } = exporterTo(receiver.url);
    await using _ = exporter;
    exporter.add(spans(4));
    await settled(counts, 4);
    assert.deepEqual(counts, { delivered: 4 });
    assert.equal(receiver.messages.length, 3);
    assert.equal(receiver.spans.length, 4);
    assert.deepEqual(troubles, []);
  });
}

test('Retry-After is kept to', async () => {
  await using receiver = await otlpReceiver();
  const cameAtMs: number[] = [];
  receiver.answer = () => {
    cameAtMs.push(performance.now());
    return cameAtMs.length === 1 ? { status: 429, fields: { 'retry-after': '1' } } : { status: 200 };
  };
  const { exporter, counts } = exporterTo(receiver.url);
  await using _ = exporter;
  exporter.add([span()]);
  await settled(counts, 1);
  // A timer may be early by less than a millisecond; without the field it would be 5 ms.
  assert.ok((cameAtMs[1] as number) - (cameAtMs[0] as number) >= 990);
});

test('a collector that goes on refusing is tried four times a message; the spans are counted, and it is said once', async () => {
  await using receiver = await otlpReceiver();
  receiver.answer = () => ({ status: 503 });
  const { exporter, counts, troubles } = exporterTo(receiver.url);
  await using _ = exporter;
  exporter.add(spans(3));
  await settled(counts, 3);
  exporter.add(spans(2));
  await settled(counts, 5);
  assert.deepEqual(counts, { undelivered: 5 });
  assert.equal(receiver.messages.length, 8);
  assert.deepEqual(troubles, ['answered 503']);
  receiver.answer = () => ({ status: 200 });
  exporter.add(spans(1));
  await settled(counts, 6);
  assert.deepEqual(troubles, ['answered 503', undefined]);
});

for (const status of [400, 401, 404, 413, 500]) {
  test(`${status} is not tried again`, async () => {
    await using receiver = await otlpReceiver();
    receiver.answer = () => ({ status });
    const { exporter, counts, troubles } = exporterTo(receiver.url);
    await using _ = exporter;
    exporter.add(spans(2));
    await settled(counts, 2);
    assert.deepEqual(counts, { refused: 2 });
    assert.equal(receiver.messages.length, 1);
    assert.deepEqual(troubles, [`answered ${status}`]);
  });
}

test('a redirect is not followed: the headers of one collector are not for another', async () => {
  await using other = await otlpReceiver();
  await using receiver = await otlpReceiver();
  receiver.answer = () => ({ status: 307, fields: { location: `${other.url}/v1/traces` } });
  const { exporter, counts } = exporterTo(receiver.url, { headers: { authorization: 'Bearer secret' } });
  await using _ = exporter;
  exporter.add(spans(1));
  await settled(counts, 1);
  assert.deepEqual(counts, { refused: 1 });
  assert.equal(receiver.messages[0]?.headers.authorization, 'Bearer secret');
  assert.equal(other.messages.length, 0);
});

test('what a collector says that it did not take is counted as refused', async () => {
  await using receiver = await otlpReceiver();
  receiver.answer = () => ({ status: 200, body: '{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}' });
  const { exporter, counts } = exporterTo(receiver.url);
  await using _ = exporter;
  exporter.add(spans(5));
  await settled(counts, 5);
  assert.deepEqual(counts, { delivered: 3, refused: 2 });
});

for (const body of [
  '',
  'null',
  '[]',
  'not JSON',
  '{"partialSuccess":{"rejectedSpans":-1}}',
  `"${'x'.repeat(200_000)}"`,
]) {
  test(`an answer of ${body.length > 50 ? `${body.length} letters` : body || 'nothing'} is a delivery`, async () => {
    await using receiver = await otlpReceiver();
    receiver.answer = () => ({ status: 200, body });
    const { exporter, counts } = exporterTo(receiver.url);
    await using _ = exporter;
    exporter.add(spans(2));
    await settled(counts, 2);
    assert.deepEqual(counts, { delivered: 2 });
  });
}

test('a collector that is away costs the queue and nothing else; what is too much is dropped whole and counted', async () => {
  const { exporter, counts, troubles } = exporterTo('http://127.0.0.1:1', { queue: 100 });
  await using _ = exporter;
  for (let at = 0; at < 30; at += 1) exporter.add(spans(4));
  assert.deepEqual(counts, { queue_full: 20 });
  await settled(counts, 120);
  assert.deepEqual(counts, { queue_full: 20, undelivered: 100 });
  assert.deepEqual(troubles, ['cannot be reached']);
});

test('a collector that never answers is given up after timeout, again and again', async () => {
  await using receiver = await otlpReceiver();
  receiver.answer = () => 'silence';
  const { exporter, counts, troubles } = exporterTo(receiver.url, { timeoutMs: 30 });
  await using _ = exporter;
  exporter.add(spans(2));
  await settled(counts, 2);
  assert.deepEqual(counts, { undelivered: 2 });
  assert.deepEqual(troubles, ['did not answer in time']);
});

test('flush sends what is there at once', async () => {
  await using receiver = await otlpReceiver();
  const { exporter, counts } = exporterTo(receiver.url);
  await using _ = exporter;
  exporter.add(spans(700));
  exporter.add(spans(5));
  await exporter.flush(30_000);
  assert.deepEqual(counts, { delivered: 705 });
  await exporter.flush(30_000);
  assert.equal(receiver.messages.length, 2);
});

test('flush does not wait out a pause between attempts', async () => {
  await using receiver = await otlpReceiver();
  let refusals = 1;
  receiver.answer = () => (refusals-- > 0 ? { status: 503, fields: { 'retry-after': '999999' } } : { status: 200 });
  const { exporter, counts } = exporterTo(receiver.url);
  await using _ = exporter;
  exporter.add(spans(512));
  await waitFor(() => receiver.messages.length === 1, 'the first attempt');
  await exporter.flush(30_000);
  assert.deepEqual(counts, { delivered: 512 });
});

test('flush gives up in its time, and disposing counts what is left without blaming the collector', async () => {
  await using receiver = await otlpReceiver();
  receiver.answer = () => 'silence';
  const { exporter, counts, troubles } = exporterTo(receiver.url);
  exporter.add(spans(600));
  exporter.add(spans(1));
  await exporter.flush(50);
  assert.deepEqual(counts, {});
  await exporter[Symbol.asyncDispose]();
  assert.deepEqual(counts, { undelivered: 601 });
  assert.deepEqual(troubles, []);
});

test('a new target is used from the next message on, and its CA for new connections', async () => {
  const authority = testAuthority();
  const { certificate: cert, key } = authority.issue('collector', 'IP:127.0.0.1', 'serverAuth');
  authority[Symbol.dispose]();
  await using plain: OtlpReceiver = await otlpReceiver();
  await using secure: OtlpReceiver = await otlpReceiver({ cert, key });
  const { exporter, counts, target } = exporterTo(plain.url);
  await using _ = exporter;
  exporter.add(spans(1));
  await settled(counts, 1);
  exporter.use({ ...target, url: `${secure.url}/v1/traces` });
  exporter.add(spans(1));
  await settled(counts, 2);
  assert.deepEqual(counts, { delivered: 1, undelivered: 1 });
  exporter.use({ ...target, url: `${secure.url}/v1/traces`, ca: authority.certificate });
  exporter.add(spans(1));
  await settled(counts, 3);
  assert.deepEqual(counts, { delivered: 2, undelivered: 1 });
  assert.deepEqual([plain.spans.length, secure.spans.length], [1, 1]);
});
