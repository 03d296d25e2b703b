// Configuration files that do not hold, loaded under traffic: every one refused with its problems, and nobody notices.
import assert from 'node:assert/strict';
import { copyFileSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { admin } from '../attacks/world.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';

test('broken files reloaded under traffic: each is refused with its place, the old one serves every request', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url);
  const good = readFileSync(sidecar.file);
  const hash = async () => ((await admin(sidecar, 'GET', '/v1/config')).body as { hash: string }).hash;
  const before = await hash();
  const stopped = new AbortController();
  const statuses = new Map<number, number>();
  const traffic = Array.from({ length: 4 }, async () => {
    while (!stopped.signal.aborted) {
      const response = await fetch(sidecar.proxyUrl, { headers: { authorization: `Bearer ${tokenFor()}` } });
      await response.body?.cancel();
      statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
    }
  });
  const reload = async (what: string) => {
    const { status, body } = await admin(sidecar, 'POST', '/v1/config/reload', {});
    assert.equal(status, 422, what);
    const errors = body.errors as { path: string; problem: string }[];
    assert.ok(errors.length > 0 && errors.every(({ problem }) => problem.length > 5), what);
  };
  const files = globSync(new URL('../fixtures/config/bad/*.yaml', import.meta.url).pathname).sort();
  assert.ok(files.length > 50);
  for (const file of files) {
    copyFileSync(file, sidecar.file);
    await reload(file);
  }
  const bytes = [
    '',
    '\u0000',
    '\ufeff',
    '%YAML 9.9\n---\n',
    '[',
    '- 1',
    'version: 1\n',
    '&a [*a]',
    Buffer.alloc(100_000, '['),
  ];
  for (const content of [...bytes, Buffer.from([0xff, 0xfe, 0, 1]), good.subarray(0, good.length / 2)]) {
    writeFileSync(sidecar.file, content);
    await reload(JSON.stringify(String(content).slice(0, 40)));
  }
  assert.equal(await hash(), before);
  writeFileSync(sidecar.file, good);
  assert.equal((await admin(sidecar, 'POST', '/v1/config/reload', {})).status, 200);
  stopped.abort();
  await Promise.all(traffic);
  assert.deepEqual([...statuses.keys()], [200]);
  assert.ok((statuses.get(200) as number) > files.length);
});
