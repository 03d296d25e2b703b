// `npm test`: finds or installs what the tests need, then runs every *.test.ts with Node's own runner.
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { ensureRedisServer } from './support/redis-server.ts';
import { ensureAll } from './support/system-packages.ts';

const named = process.argv.slice(2);
try {
  // Files that are named find or install the rarer programs by themselves.
  if (named.length === 0) ensureAll();
  else ensureRedisServer();
} catch (error) {
  console.error((error as Error).message);
  process.exit(1);
}
const files = named.length > 0 ? named : globSync('test/**/*.test.ts').filter((file) => !file.includes('node_modules'));
// Every file and every sidecar is a process of its own; without this each would strip and compile the same modules anew.
const env = { ...process.env, NODE_COMPILE_CACHE: join(import.meta.dirname, '../node_modules/.cache/compile') };
const child = spawn(
  process.execPath,
  ['--test', '--test-concurrency=5', '--test-timeout=120000', '--test-reporter=spec', ...files.sort()],
  { stdio: 'inherit', env },
);
// A test that never ends must fail the run, not hold it.
const watchdog = setTimeout(() => {
  console.error('the tests did not end within 14 minutes');
  child.kill('SIGKILL');
}, 14 * 60_000);
watchdog.unref();
child.on('exit', (code) => process.exit(code ?? 1));
