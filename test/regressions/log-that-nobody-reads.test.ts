// Found when the queues of the data plane were listed: lines for a standard output that nobody reads were held without a bound.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';

const LOG = new URL('../../src/telemetry/log.ts', import.meta.url).href;
/** 128 MB of lines, in turns, as a server would write them; then what it has cost. */
const FLOOD = `
  const { openLog } = await import(${JSON.stringify(LOG)});
  const log = openLog('info');
  const text = 'x'.repeat(2000);
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  for (let n = 0; n < 64; n += 1) {
    for (let line = 0; line < 1000; line += 1) log.info({ text }, 'flood');
    await turn();
  }
  globalThis.gc();
  process.stderr.write(String(process.memoryUsage().rss));
  process.exit();
`;

test('log lines that nobody reads take no more than a bound', async () => {
  const child = spawn(process.execPath, ['--expose-gc', '--input-type=module', '-e', FLOOD], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.pause();
  let said = '';
  child.stderr.on('data', (chunk) => {
    said += chunk;
    if (/^\d+$/.test(said)) child.stdout.resume();
  });
  await once(child, 'exit');
  assert.match(said, /^\d+$/);
  assert.ok(Number(said) < 200 * 1024 * 1024, `${said} bytes resident`);
});
