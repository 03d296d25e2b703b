// W3C Trace Context, read as the recommendation says; the cases of its own test suite that concern a reader of both fields.
// https://github.com/w3c/trace-context/blob/main/test/test.py
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  newSpanId,
  newTraceId,
  readTraceparent,
  readTracestate,
  traceparent,
} from '../../src/telemetry/trace-context.ts';

const TRACE = '12345678901234567890123456789012';
const SPAN = '1234567890123456';

const good: readonly (readonly [string, boolean, boolean])[] = [
  [`00-${TRACE}-${SPAN}-01`, true, false],
  [`00-${TRACE}-${SPAN}-00`, false, false],
  [`00-${TRACE}-${SPAN}-03`, true, true],
  [`00-${TRACE}-${SPAN}-02`, false, true],
  [`00-${TRACE}-${SPAN}-ff`, true, true],
  [`cc-${TRACE}-${SPAN}-01`, true, false],
  [`cc-${TRACE}-${SPAN}-01-`, true, false],
  [`cc-${TRACE}-${SPAN}-01-what-the-future-will-be-like`, true, false],
];

for (const [value, sampled, random] of good) {
  test(`traceparent ${value} is read`, () => {
    assert.deepEqual(readTraceparent(value), { traceId: TRACE, spanId: SPAN, sampled, random });
  });
}

const bad = [
  '',
  `00-${TRACE}-${SPAN}`,
  `00-${TRACE}-${SPAN}-01-`,
  `00-${TRACE}-${SPAN}-01.`,
  `00-${TRACE}-${SPAN}-01-what-the-future-will-be-like`,
  `cc-${TRACE}-${SPAN}-01.what-the-future-will-be-like`,
  `ff-${TRACE}-${SPAN}-01`,
  `.0-${TRACE}-${SPAN}-01`,
  `0-${TRACE}-${SPAN}-01`,
  `00-${'0'.repeat(32)}-${SPAN}-01`,
  `00-${TRACE}-${'0'.repeat(16)}-01`,
  `00-${TRACE.slice(1)}.-${SPAN}-01`,
  `00-${TRACE}0-${SPAN}-01`,
  `00-${TRACE.slice(1)}-${SPAN}-01`,
  `00-${TRACE}-${SPAN}0-01`,
  `00-${TRACE}-${SPAN.slice(1)}-01`,
  `00-${TRACE}-${SPAN}-.0`,
  `00-${TRACE}-${SPAN}-1`,
  `00-${TRACE}-${SPAN}-001`,
  `00-ABCDEF78901234567890123456789012-${SPAN}-01`,
  `00-${TRACE}-${SPAN}-0A`,
  ` 00-${TRACE}-${SPAN}-01`,
  `00-${TRACE}-${SPAN}-01,00-${TRACE}-${SPAN}-01`,
  'x'.repeat(10_000),
];

for (const value of bad) {
  test(`traceparent ${value.length > 100 ? `of ${value.length} letters` : `"${value}"`} counts as none`, () => {
    assert.equal(readTraceparent(value), undefined);
  });
}

test('a traceparent of ours is version 00 and reads as it was written, whatever version it came in', () => {
  const read = readTraceparent(`cc-${TRACE}-${SPAN}-0b-more`)!;
  assert.equal(traceparent(read), `00-${TRACE}-${SPAN}-03`);
  assert.deepEqual(readTraceparent(traceparent(read)), read);
});

test('ids of ours are hexadecimal, of their length, and do not repeat', () => {
  const traces = new Set(Array.from({ length: 5000 }, newTraceId));
  const spans = new Set(Array.from({ length: 5000 }, newSpanId));
  assert.deepEqual([traces.size, spans.size], [5000, 5000]);
  for (const id of traces) assert.match(id, /^[0-9a-f]{32}$/);
  for (const id of spans) assert.match(id, /^[0-9a-f]{16}$/);
});

const states: readonly (readonly [string, string | undefined])[] = [
  ['foo=1', 'foo=1'],
  ['foo=1,bar=2', 'foo=1,bar=2'],
  ['foo=1 \t , \t bar=2, \t baz=3', 'foo=1,bar=2,baz=3'],
  ['foo=1,,bar=2', 'foo=1,bar=2'],
  ['foo=1,', 'foo=1'],
  ['fw529a3039@dt=FfffffSf;0', 'fw529a3039@dt=FfffffSf;0'],
  ['foo@=1,bar=2', 'foo@=1,bar=2'],
  ['foo-_*/bar=bar4', 'foo-_*/bar=bar4'],
  [`${'z'.repeat(256)}=1`, `${'z'.repeat(256)}=1`],
  ['', undefined],
  [' , ,\t', undefined],
  ['foo=1,bar', undefined],
  ['foo =1', undefined],
  ['FOO=1', undefined],
  ['foo.bar=1', undefined],
  ['=1', undefined],
  ['foo=', undefined],
  ['foo=bar=baz', undefined],
  ['foo=1\u0001', undefined],
  ['foo=ä', undefined],
  [`${'z'.repeat(257)}=1`, undefined],
  [`foo=${'v'.repeat(257)}`, undefined],
  [Array.from({ length: 33 }, (_, at) => `k${at}=1`).join(','), undefined],
];

for (const [value, expected] of states) {
  test(`tracestate "${value.slice(0, 60)}" is ${expected === undefined ? 'dropped' : 'kept'}`, () => {
    assert.equal(readTracestate(value), expected);
  });
}

test('a tracestate of more than 512 characters loses its long members first, then the last ones', () => {
  const short = Array.from({ length: 20 }, (_, at) => `short${at}=${'v'.repeat(30)}`);
  const long = `long=${'v'.repeat(130)}`;
  const kept = readTracestate([long, ...short].join(','))!;
  assert.ok(kept.length <= 512 && kept.length > 450, `${kept.length}`);
  assert.equal(kept, short.slice(0, kept.split(',').length).join(','));
});
