// docs/log.md has every event that the program can log, with its levels, and no other.
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** Levels by event, each as often as it stands once. */
type Events = Map<string, Set<string>>;

function note(events: Events, event: string, level: string): void {
  events.set(event, (events.get(event) ?? new Set()).add(level));
}

/** Calls of a logger: `log.warn({ … }, 'event')`; the text of each up to its closing parenthesis. */
function callsIn(source: string): { readonly level: string; readonly call: string }[] {
  return [...source.matchAll(/\b(?:log|lines)\.(debug|info|warn|error|fatal)\(/g)].map((found) => {
    const begin = found.index + found[0].length;
    let [at, depth] = [begin, 1];
    for (; depth > 0; at += 1) depth += source[at] === '(' ? 1 : source[at] === ')' ? -1 : 0;
    return { level: found[1] as string, call: source.slice(begin, at - 1) };
  });
}

function logged(): Events {
  const events: Events = new Map();
  for (const file of globSync('src/**/*.ts', { cwd: root })) {
    for (const { level, call } of callsIn(readFileSync(`${root}${file}`, 'utf8'))) {
      // The comment of telemetry/log.ts shows a call.
      if (file.endsWith('telemetry/log.ts')) continue;
      const event = /(?:^|,)\s*'([a-z_]+)',?\s*$/.exec(call)?.[1];
      assert.ok(event, `${file}: a line of the log needs its event as a literal: ${call}`);
      note(events, event, level);
    }
  }
  return events;
}

function documented(): Events {
  const events: Events = new Map();
  for (const [, event, levels] of readFileSync(`${root}docs/log.md`, 'utf8').matchAll(
    /^\| `([a-z_]+)` \| ([a-z, ]+) \| .+ \|$/gm,
  )) {
    assert.ok(!events.has(event as string), `${event} stands twice`);
    for (const level of (levels as string).split(', ')) note(events, event as string, level);
  }
  return events;
}

const rows = (events: Events) => [...events].map(([event, levels]) => `${event} ${[...levels].sort().join()}`).sort();

test('every event of the log is in docs/log.md with its levels, and every event there is logged', () => {
  const found = rows(logged());
  assert.ok(found.length > 60, `only ${found.length} events are seen`);
  assert.deepEqual(rows(documented()), found);
});
