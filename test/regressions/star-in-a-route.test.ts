// Found by somebody who used the program as a customer would: `/admin/*`, as other proxies write it, was taken as written. It matched
// nothing that is ever asked for, so that what it was to protect went by the route around it, without a word.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { run, scratchFolder } from '../cli/processes.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { configFor, startSidecar, tokenFor } from '../support/sidecar.ts';

const OPEN = { match: { prefix: '/' } };
const guarded = (match: object) => ({ routes: { all: OPEN, admin: { match, require: { roles: ['admin'] } } } });

test('a * in prefix or path refuses check and run, which say what to write', async () => {
  using folder = scratchFolder();
  for (const match of [{ path: '/admin/*' }, { prefix: '/admin/*' }, { path: '/admin/.*' }]) {
    writeFileSync(folder.file('sidecar.yaml'), JSON.stringify(configFor('http://127.0.0.1:1', guarded(match))));
    for (const verb of ['check', 'run']) {
      const { code, err } = await run([verb], { cwd: folder.path });
      assert.equal(code, 3, `${verb} ${JSON.stringify(match)}`);
      assert.match(err, /^sidecar\.yaml:1:\d+ routes\.admin\.match\.\w+: \* stands for nothing in a path: use prefix/);
    }
  }
});

test('a reload to a * keeps what protected the path', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, guarded({ prefix: '/admin' }));
  const ask = async () => {
    const headers = { authorization: `Bearer ${tokenFor({ sub: 'ann' })}` };
    return (await fetch(`${sidecar.proxyUrl}/admin/users`, { headers })).status;
  };
  assert.equal(await ask(), 403);
  sidecar.writeConfig(configFor(upstream.url, guarded({ path: '/admin/*' })));
  const outcome = await sidecar.reload();
  assert.deepEqual(outcome.ok ? [] : outcome.problems.map(({ path }) => path), ['routes.admin.match.path']);
  assert.equal(await ask(), 403);
  assert.equal(upstream.seen.length, 0);
});
