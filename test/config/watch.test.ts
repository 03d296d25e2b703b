import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { mkdirSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../src/config/load.ts';
import { type WatchTimes, watchConfig } from '../../src/config/watch.ts';
import { configEnvironment } from '../support/config-keys.ts';
import { SMALLEST, temporaryFolder } from '../support/config-text.ts';

const EVENTS_ONLY: WatchTimes = { settleMs: 20, pollMs: 60_000 };
const POLL_ONLY: WatchTimes = { settleMs: 60_000, pollMs: 20 };

function watching(file: string, times: WatchTimes) {
  const emitter = new EventEmitter();
  const notices: (readonly string[])[] = [];
  const loaded = loadConfig({ file, env: configEnvironment });
  const watch = watchConfig(
    loaded,
    (files) => {
      notices.push(files);
      emitter.emit('notice', files);
    },
    times,
  );
  const signal = () => AbortSignal.timeout(10_000);
  return {
    watch,
    notices,
    /** Does something and waits for the notice of it. */
    noticeOf: async (act: () => void): Promise<readonly string[]> => {
      const notice = once(emitter, 'notice', { signal: signal() });
      act();
      return (await notice)[0];
    },
    [Symbol.asyncDispose]: () => watch[Symbol.asyncDispose](),
  };
}

for (const [how, times] of [
  ['events', EVENTS_ONLY],
  ['polling', POLL_ONLY],
] as const) {
  test(`an edit is noticed by ${how}`, async () => {
    using folder = temporaryFolder();
    const file = folder.write('sidecar.yaml', SMALLEST);
    await using it = watching(file, times);
    assert.deepEqual(await it.noticeOf(() => folder.write('sidecar.yaml', `${SMALLEST}log: {level: warn}\n`)), [file]);
  });

  test(`an editor that writes a new file and renames it is noticed by ${how}, every time`, async () => {
    using folder = temporaryFolder();
    const file = folder.write('sidecar.yaml', SMALLEST);
    await using it = watching(file, times);
    for (const level of ['warn', 'error']) {
      await it.noticeOf(() => {
        folder.write('.swap', `${SMALLEST}log: {level: ${level}}\n`);
        rmSync(file);
        renameSync(folder.path('.swap'), file);
      });
    }
    assert.equal(it.notices.length, 2);
  });

  test(`the symlink swap of a ConfigMap is noticed by ${how}`, async () => {
    using folder = temporaryFolder();
    const version = (name: string, text: string) => {
      mkdirSync(folder.path(name));
      writeFileSync(join(folder.path(name), 'sidecar.yaml'), text);
    };
    version('..one', SMALLEST);
    symlinkSync('..one', folder.path('..data'));
    symlinkSync('..data/sidecar.yaml', folder.path('sidecar.yaml'));
    await using it = watching(folder.path('sidecar.yaml'), times);
    await it.noticeOf(() => {
      version('..two', `${SMALLEST}log: {level: warn}\n`);
      symlinkSync('..two', folder.path('..data_tmp'));
      renameSync(folder.path('..data_tmp'), folder.path('..data'));
      rmSync(folder.path('..one'), { recursive: true });
    });
    assert.equal(loadConfig({ file: folder.path('sidecar.yaml'), env: {} }).config.log.level, 'warn');
  });
}

test('a rotated secret file and a new key set are noticed, in whatever folder they are', async () => {
  using folder = temporaryFolder();
  using other = temporaryFolder();
  other.write('secret', configEnvironment.JWT_SECRET!);
  folder.write('keys.json', '{"keys": [{"kty": "OKP"}]}');
  const file = folder.write(
    'sidecar.yaml',
    `version: 1
upstreams: {app: {url: "http://127.0.0.1:3000"}}
issuers:
  one: {issuer: one, audience: [api], keys: {secret: {file: "${other.path('secret')}"}}}
  two: {issuer: two, audience: [api], keys: {file: keys.json}}
defaults: {issuers: [one, two]}
routes: {all: {match: {prefix: /}}}
`,
  );
  await using it = watching(file, EVENTS_ONLY);
  assert.deepEqual(await it.noticeOf(() => other.write('secret', 'another')), [other.path('secret')]);
  assert.deepEqual(await it.noticeOf(() => folder.write('keys.json', '{}')), [folder.path('keys.json')]);
});

test('the same content is no change, nor is a file that is away for a while', async () => {
  using folder = temporaryFolder();
  const file = folder.write('sidecar.yaml', SMALLEST);
  await using it = watching(file, { settleMs: 5, pollMs: 5 });
  utimesSync(file, 1, 1);
  folder.write('sidecar.yaml', SMALLEST);
  rmSync(file);
  folder.write('unrelated', 'x');
  folder.write('sidecar.yaml', SMALLEST);
  await it.noticeOf(() => folder.write('sidecar.yaml', `${SMALLEST}# the end\n`));
  assert.equal(it.notices.length, 1);
});

test('a change between loading and watching is not missed', async () => {
  using folder = temporaryFolder();
  const file = folder.write('sidecar.yaml', SMALLEST);
  const loaded = loadConfig({ file, env: {} });
  folder.write('sidecar.yaml', `${SMALLEST}log: {level: warn}\n`);
  const { promise, resolve } = Promise.withResolvers<readonly string[]>();
  await using _ = watchConfig(loaded, resolve, { settleMs: 5, pollMs: 5 });
  const keepAlive = setInterval(() => {}, 1000);
  assert.deepEqual(await promise, [file]);
  clearInterval(keepAlive);
});

test('following a new configuration watches its files and no longer those of the old one', async () => {
  using folder = temporaryFolder();
  using other = temporaryFolder();
  const file = folder.write('sidecar.yaml', SMALLEST);
  const elsewhere = other.write('sidecar.yaml', SMALLEST);
  await using it = watching(file, EVENTS_ONLY);
  it.watch.follow(loadConfig({ file: elsewhere, env: {} }));
  folder.write('sidecar.yaml', `${SMALLEST}# no longer followed\n`);
  assert.deepEqual(await it.noticeOf(() => other.write('sidecar.yaml', `${SMALLEST}# new\n`)), [elsewhere]);
  assert.equal(it.notices.length, 1);
});

test('disposing waits for the notice under way', async () => {
  using folder = temporaryFolder();
  const file = folder.write('sidecar.yaml', SMALLEST);
  const started = Promise.withResolvers<void>();
  const finish = Promise.withResolvers<void>();
  const order: string[] = [];
  const watch = watchConfig(
    loadConfig({ file, env: {} }),
    async () => {
      started.resolve();
      await finish.promise;
      order.push('notice');
    },
    { settleMs: 5, pollMs: 5 },
  );
  const keepAlive = setInterval(() => {}, 1000);
  folder.write('sidecar.yaml', `${SMALLEST}# new\n`);
  await started.promise;
  const disposed = watch[Symbol.asyncDispose]().then(() => order.push('disposed'));
  finish.resolve();
  await disposed;
  clearInterval(keepAlive);
  assert.deepEqual(order, ['notice', 'disposed']);
});
