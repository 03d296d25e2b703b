// `proxy.limit_headers`: which fields tell callers about limits, on answers of the application, refusals and verdicts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { configFor, startSidecar, tokenFor } from '../support/sidecar.ts';

const NAMES = ['ratelimit', 'ratelimit-policy', 'x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset'];

const limited = (limit_headers: string | undefined) => ({
  proxy: { listen: '127.0.0.1:0', ...(limit_headers && { limit_headers }) },
  limits: { few: { key: 'subject', rate: '2/1h' } },
  defaults: { limits: ['few'] },
});

async function shown(url: string, token: string) {
  const { status, headers } = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  const seen = NAMES.map((name) => {
    const value = headers.get(name) ?? undefined;
    return name === 'x-ratelimit-reset' ? value?.replace(/^\d{1,4}$/, 'soon') : value?.replace(/t=\d{1,4}$/, 'soon');
  });
  return { status, seen, retryAfter: headers.get('retry-after') };
}

const draft = (left: number) => [`"few";r=${left};soon`, '"few";q=2;w=3600'];
const legacy = (left: number) => ['2', String(left), 'soon'];
const none = (count: number) => Array<undefined>(count).fill(undefined);

const wanted: Readonly<Record<string, (left: number) => unknown[]>> = {
  draft: (left) => [...draft(left), ...none(3)],
  legacy: (left) => [...none(2), ...legacy(left)],
  both: (left) => [...draft(left), ...legacy(left)],
  off: () => none(5),
};

for (const [setting, fields] of Object.entries(wanted)) {
  test(`limit_headers: ${setting} holds for acceptances and refusals; Retry-After stays`, async () => {
    await using upstream = await recordingUpstream();
    await using sidecar = await startSidecar(upstream.url, limited(setting));
    const token = tokenFor();
    assert.deepEqual(await shown(sidecar.proxyUrl, token), { status: 200, seen: fields(1), retryAfter: null });
    await shown(sidecar.proxyUrl, token);
    const refused = await shown(sidecar.proxyUrl, token);
    assert.deepEqual([refused.status, refused.seen], [429, fields(0)]);
    assert.ok(Number(refused.retryAfter) >= 1);
  });
}

test('limit_headers is the draft unless set, and changes with a reload', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, limited(undefined));
  assert.deepEqual((await shown(sidecar.proxyUrl, tokenFor())).seen, wanted.draft?.(1));
  sidecar.writeConfig(configFor(upstream.url, limited('legacy')));
  await sidecar.reload();
  assert.deepEqual((await shown(sidecar.proxyUrl, tokenFor())).seen, wanted.legacy?.(0));
});

test('attack 56: with X-RateLimit fields of ours, those of the application do not stand beside them; without, they pass', async () => {
  await using upstream = await recordingUpstream((_request, response) => {
    const own = {
      'x-ratelimit-limit': '999',
      'X-RateLimit-Remaining': '998',
      'x-ratelimit-reset': '1',
      'x-ratelimit-own': 'a',
    };
    response.writeHead(200, own).end('ok');
  });
  await using ours = await startSidecar(upstream.url, limited('legacy'));
  assert.deepEqual((await shown(ours.proxyUrl, tokenFor())).seen, wanted.legacy?.(1));
  await using theirs = await startSidecar(upstream.url, limited('draft'));
  assert.deepEqual((await shown(theirs.proxyUrl, tokenFor())).seen.slice(2), ['999', '998', 'soon']);
});
