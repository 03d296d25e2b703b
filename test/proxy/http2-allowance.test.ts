// What ordinary clients send besides requests is no flood, however they send it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Allowance } from '../../src/http/http2/allowance.ts';

const SWEEP_MS = 500;
const MIB = 1024 * 1024;

/** Settles after each of `steps`, whose counts are of that time alone. */
function settled(steps: readonly { read: number; written?: number; requests?: number; body?: number }[]): boolean[] {
  const allowance = new Allowance(100, 0);
  let [bytesRead, bytesWritten, nowMs] = [0, 0, 0];
  return steps.map(({ read, written = 0, requests = 0, body = 0 }) => {
    bytesRead += read;
    bytesWritten += written;
    nowMs += SWEEP_MS;
    allowance.requests += requests;
    allowance.bodyBytes += body;
    return allowance.settle({ bytesRead, bytesWritten }, nowMs);
  });
}
const repeat = <T>(step: T, times = 100): T[] => Array.from({ length: times }, () => step);

test('a large upload, messages of one byte, and window updates for a large download overdraw nothing', () => {
  const upload = repeat({ read: 50 * MIB, body: 49.9 * MIB });
  const messages = repeat({ read: 10 * MIB, body: MIB });
  const download = repeat({ read: 5 * MIB, written: 500 * MIB });
  for (const steps of [upload, messages, download])
    assert.ok(settled([{ read: 200, requests: 1 }, ...steps]).every(Boolean));
});

test('bodies that nobody reads yet were paid for by their requests', () => {
  assert.ok(
    settled([{ read: 20_000, requests: 100 }, ...repeat({ read: 0 }, 20), { read: 100 * 65_535 }]).every(Boolean),
  );
});

test('a connection that was busy for long has no more credit than its streams', () => {
  const busy = repeat({ read: 100_000, requests: 1000 });
  assert.deepEqual(settled([...busy, { read: 14 * MIB }]).slice(-2), [true, false]);
});

test('30,000 PINGs a second go on, ten times as many do not', () => {
  const pings = (count: number) => repeat({ read: count * 17, written: count * 17 });
  assert.ok(settled(pings(15_000)).every(Boolean));
  assert.equal(settled(pings(150_000)).at(-1), false);
});
