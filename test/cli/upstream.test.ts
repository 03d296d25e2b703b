// `doorward upstream list` against a running sidecar, and what `check --online` says of several urls.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ask, before, several, urls } from '../proxy/outbound/members.ts';
import { runHere } from './processes.ts';

test('upstream list shows every endpoint, its state and why', async () => {
  await using members = await several(2);
  const [alive, dead] = members;
  dead.kill();
  await using sidecar = await before(urls(members), { breaker: { failures: 1, probe: '1h' } });
  await ask(sidecar);
  await ask(sidecar);
  const { out, err, code } = await runHere(['upstream', 'list', '--config', sidecar.file]);
  assert.equal(code, 0, err);
  const lines = out.split('\n').map((line) => line.trim().split(/ {2,}/));
  assert.deepEqual(lines, [
    ['UPSTREAM', 'ENDPOINT', 'STATE', 'REQUESTS'],
    ['app', `127.0.0.1:${alive.port}`, 'up', '0'],
    ['app', `127.0.0.1:${dead.port}`, 'unreachable', '0', 'failed connects in a row: 1'],
  ]);
  const json = JSON.parse((await runHere(['upstream', 'list', '--json', '--config', sidecar.file])).out);
  assert.deepEqual(json.items[0].takes_requests, true);
  assert.deepEqual(
    json.items[0].endpoints.map(({ url, state }: { url: string; state: string }) => [url, state]),
    [
      [alive.url, 'up'],
      [dead.url, 'unreachable'],
    ],
  );
});

test('check --online tries every url of an upstream', async () => {
  await using members = await several(2);
  const [, dead] = members;
  await using sidecar = await before(urls(members));
  dead.kill();
  const { out, err } = await runHere(['check', '--online', '--config', sidecar.file]);
  assert.match(out + err, /upstreams\.app\.url\[0\].*accepts connections/);
  assert.match(out + err, /upstreams\.app\.url\[1\].*ECONNREFUSED/);
});
