// A chaos run that hangs fails, and leaves no server behind.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../rows/eventually.ts';
import { startedBy } from './ending.ts';

const RUN = join(import.meta.dirname, 'run.ts');

test('a chaos run that is not over in time fails, and everything that it started is gone', async () => {
  const child = spawn(process.execPath, [RUN, '--smoke', '--deadline', '4'], { stdio: ['ignore', 'ignore', 'pipe'] });
  const seen = new Map<number, string>();
  const timer = setInterval(() => {
    for (const [pid, name] of startedBy(child.pid as number)) seen.set(pid, name);
  }, 50);
  let said = '';
  child.stderr.on('data', (chunk) => {
    said += chunk;
  });
  const [code] = await once(child, 'close');
  clearInterval(timer);
  assert.equal(code, 1, said);
  assert.match(said, /not over within 4 s/);
  assert.ok([...seen.values()].includes('redis-server'), String([...seen.values()]));
  const left = () => [...seen.keys()].filter((pid) => existsSync(`/proc/${pid}`));
  await eventually(() => left().length === 0, 20_000);
});
