// Polling instead of sleeping.
import { setTimeout as delay } from 'node:timers/promises';

/** Resolves once `condition` holds; throws after `withinMs`. */
export async function until(condition: () => Promise<boolean>, withinMs = 10_000): Promise<void> {
  const end = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not so within ${withinMs} ms: ${condition}`);
    await delay(10);
  }
}
