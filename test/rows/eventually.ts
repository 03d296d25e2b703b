// Waiting for what time brings, by asking again and again instead of sleeping long enough.
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';

/** Polls until `holds`; fails after `withinMs`. */
export async function eventually(holds: () => boolean | Promise<boolean>, withinMs: number): Promise<void> {
  const untilMs = performance.now() + withinMs;
  while (!(await holds())) {
    assert.ok(performance.now() < untilMs, `not within ${withinMs} ms: ${holds}`);
    await delay(20);
  }
}

/** Resolves where at least `roomMs` of the running window of `windowMs` are left; windows start at multiples of it. */
export async function roomInWindow(windowMs: number, roomMs: number): Promise<void> {
  const leftMs = windowMs - (Date.now() % windowMs);
  if (leftMs < roomMs) await delay(leftMs + 5);
}
