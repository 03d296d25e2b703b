// The fuzzer itself: it finds what it should, says nothing where there is nothing, and does the same for the same seed.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { fuzz, type Target } from './engine.ts';

const hits = new Uint8Array(16);

/** Each right letter is an edge of its own, as it would be in a parser. */
const deep: Target = {
  name: 'deep',
  files: /none/,
  seeds: ['x'],
  words: ['k'],
  maxBytes: 20,
  check(input) {
    const text = input.toString('latin1');
    for (let at = 0; at < 4; at += 1) {
      if (text[at] !== 'fuzz'[at]) return;
      hits[at] = 1;
    }
    throw new Error('found');
  },
};

test('coverage leads to what chance would not find', () => {
  const { finding, executions } = fuzz(deep, { hits, ms: 60_000, corpus: [], seed: 1 });
  assert.equal(finding?.input.toString('latin1').slice(0, 4), 'fuzz');
  assert.ok(executions < 2 ** 24, 'far fewer inputs than there are words of four bytes');
});

test('without coverage it does not get there in ten times as many inputs', () => {
  const { executions } = fuzz(deep, { hits, ms: 60_000, corpus: [], seed: 1 });
  let left = 10 * executions;
  const blind: Target = {
    ...deep,
    check(input) {
      left -= 1;
      if (left < 0) throw new Error('enough');
      if (input.toString('latin1').startsWith('fuzz')) throw new Error('found');
    },
  };
  assert.match(
    String(fuzz(blind, { hits: new Uint8Array(16), ms: 60_000, corpus: [], seed: 1 }).finding?.error),
    /enough/,
  );
});

test('the program runs a target over instrumented sources and reports edges', () => {
  const program = fileURLToPath(new URL('./run.ts', import.meta.url));
  const printed = execFileSync(process.execPath, [program, 'chunked', '--minutes', '0.01', '--seed', '1'], {
    encoding: 'utf8',
  });
  assert.match(printed, /^chunked: \d+ inputs, \d+\/s, [1-9]\d* edges, [1-9]\d* inputs kept of seed 1$/m);
});
