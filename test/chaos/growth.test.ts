// What the chaos run calls flat.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Footprint, judgeGrowth } from './growth.ts';

/** A run of 100 looks; a process that was started at look 24. */
const run = (memoryMb: (at: number) => number, descriptors: (at: number) => number = () => 40): readonly Footprint[] =>
  Array.from({ length: 100 }, (_, at) => ({
    atMs: at,
    pid: at < 24 ? 1 : 2,
    memoryMb: memoryMb(at),
    descriptors: descriptors(at),
  }));
const judged = (samples: readonly Footprint[]) => judgeGrowth(samples, (atMs) => atMs / 100);

test('a saw-tooth around one height is flat, also where the process began low at the end of the first quarter', () => {
  const sawTooth = (at: number) => 250 + (at % 10) * 12;
  assert.equal(judged(run(sawTooth)).isFlat, true);
  assert.equal(judged(run((at) => (at < 30 ? 120 : sawTooth(at)))).isFlat, true);
});

test('memory that goes on growing by half an hour is not, slowly or at once', () => {
  assert.equal(judged(run((at) => 200 + at * 1.5)).isFlat, false);
  assert.equal(judged(run((at) => (at < 70 ? 200 : 260))).isFlat, false);
});

test('descriptors that stay are not flat; those that are held for a moment are', () => {
  assert.equal(
    judged(
      run(
        () => 200,
        (at) => 40 + Math.floor(at / 2),
      ),
    ).isFlat,
    false,
  );
  assert.equal(
    judged(
      run(
        () => 200,
        (at) => (at % 3 === 0 ? 40 : 400),
      ),
    ).isFlat,
    true,
  );
});

test('a process that did not live from the second quarter to the last is no proof', () => {
  const samples = run(() => 200).map((each) => ({ ...each, pid: each.atMs < 80 ? 1 : 2 }));
  assert.deepEqual(judged(samples), {
    isFlat: false,
    text: 'its process did not live from the second quarter to the last',
  });
});
