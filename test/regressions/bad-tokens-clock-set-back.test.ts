// An address that was over the rate of bad tokens stayed refused until the clock came by again after it was set back: an hour,
// where it had been an hour ahead. Found by the clock steps of the chaos run.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { badTokens } from '../../src/proxy/decide/bad-tokens.ts';
import { ManualClock } from '../support/manual-clock.ts';

test('setting the clock back keeps no address out for longer than the rate says', () => {
  const clock = new ManualClock();
  const counter = badTokens({ limit: 3, windowMs: 60_000 }, clock);
  for (let sent = 0; sent < 3; sent += 1) counter.charge('address');
  assert.ok((counter.retryAfter('address') ?? 0) >= 1);
  clock.setWall(clock.nowMs() - 3_600_000);
  clock.advance(120_000);
  assert.equal(counter.retryAfter('address'), undefined);
});
