// Where what was decided stands in the configuration: the very line of the file, the variable, the default; and nothing at all
// once another configuration is in force.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { openSidecar } from '../../src/app.ts';
import { openLog } from '../../src/telemetry/log.ts';
import { scratchFolder } from '../cli/processes.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { testIssuerBlock, tokenFor } from '../support/sidecar.ts';

/** The file as people write it; lines are counted below. */
const fileFor = (upstream: string) => `version: 1
name: shop
proxy: {listen: "127.0.0.1:0"}
admin: {listen: "127.0.0.1:0"}
observe: {listen: "off"}
upstreams: {app: {url: "${upstream}"}}
issuers: {corp: ${JSON.stringify(testIssuerBlock)}}
limits:
  per_ip: {key: ip, rate: 1/1h}
  per_client: {key: client, rate: 100/1m}
defaults: {limits: [per_client]}
routes:
  admin:
    match: {prefix: /admin}
    require: {roles: [admin]}
  once:
    match: {prefix: /once}
    auth: none
    limits: [per_ip]
  all: {match: {prefix: /}}
`;

type Json = Readonly<Record<string, unknown>>;

async function start(env: Readonly<Record<string, string>> = {}) {
  await using closing = new AsyncDisposableStack();
  const folder = closing.use(scratchFolder());
  const upstream = closing.use(await recordingUpstream());
  const file = folder.file('sidecar.yaml');
  writeFileSync(file, fileFor(upstream.url));
  const log = openLog('silent');
  const sidecar = closing.use(await openSidecar({ file, env, log }));
  const end = closing.move();
  const call = async (path: string, body?: object): Promise<Json> => {
    const answer = await fetch(`${sidecar.adminUrl}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: {
        authorization: `Bearer ${readFileSync(sidecar.adminTokenFile, 'utf8').trim()}`,
        'content-type': 'application/json',
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    assert.equal(answer.status, 200, path);
    return (await answer.json()) as Json;
  };
  return {
    file,
    sidecar,
    explain: (url: string) => call('/v1/explain', { method: 'GET', url, token: tokenFor() }),
    /** Asks the proxy, and then why it was refused. */
    async refused(path: string): Promise<() => Promise<Json>> {
      const answer = await fetch(sidecar.proxyUrl + path, { headers: { authorization: `Bearer ${tokenFor()}` } });
      const { request_id: id } = (await answer.json()) as { request_id: string };
      return async () => ((await call(`/v1/decisions?request_id=${id}`)).items as Json[])[0] as Json;
    },
    [Symbol.asyncDispose]: () => end.disposeAsync(),
  };
}

const settingsOf = (answer: Json) =>
  (answer.settings as { setting: string; value?: string; from: string; at: string }[]).map(
    ({ setting, value, from, at }) => `${setting} ${value ?? '-'} ${from} ${at.replace(/^\/\S*\//, '')}`,
  );

test('why names the line of the rule and of the route', async () => {
  await using it = await start();
  const { rule, rule_at, route_at } = await (await it.refused('/admin'))();
  assert.deepEqual([rule, rule_at, route_at], ['routes.admin.require', `${it.file}:15:14`, `${it.file}:14:5`]);
});

test('why names the line of the limit', async () => {
  await using it = await start();
  await it.refused('/once').catch(() => undefined);
  const { rule, rule_at } = await (await it.refused('/once'))();
  assert.deepEqual([rule, rule_at], ['limits per_ip', `${it.file}:9:11`]);
});

test('why names no line of a file that has changed since, and the line again when it is as it was', async () => {
  await using it = await start();
  const why = await it.refused('/admin');
  const before = readFileSync(it.file, 'utf8');
  writeFileSync(it.file, before.replace('100/1m', '90/1m'));
  assert.equal((await it.sidecar.reload()).ok, true);
  const { rule, rule_at, route_at } = await why();
  assert.deepEqual([rule, rule_at, route_at], ['routes.admin.require', undefined, undefined]);
  // The same configuration, one line further down.
  writeFileSync(it.file, `# moved\n${before}`);
  assert.equal((await it.sidecar.reload()).ok, true);
  assert.equal((await why()).rule_at, `${it.file}:16:14`);
});

test('explain shows where the settings of the route, its issuers and limits come from', async () => {
  await using it = await start({ DOORWARD__LIMITS__PER_CLIENT__RATE: '50/1m' });
  const answer = await it.explain('/orders');
  assert.deepEqual([answer.allowed, answer.route, answer.route_at], [true, 'all', `${it.file}:20:8`]);
  assert.deepEqual(settingsOf(answer), [
    'routes.all.auth required default default',
    'routes.all.issuers corp file sidecar.yaml:7:17 (from issuers.corp)',
    'routes.all.limits per_client file sidecar.yaml:11:20 (from defaults.limits)',
    'routes.all.upstream app file sidecar.yaml:6:18 (from upstreams.app)',
    'routes.all.mode enforce default default',
    'issuers.corp.issuer https://id.test/ file sidecar.yaml:7:27',
    'issuers.corp.audience api file sidecar.yaml:7:57',
    'limits.per_client.key client file sidecar.yaml:10:21',
    'limits.per_client.rate 50/1m environment DOORWARD__LIMITS__PER_CLIENT__RATE',
    'limits.per_client.mode enforce default default',
  ]);
});

test('explain names the line of the rule that refuses, and shows the endpoints of the upstream', async () => {
  await using it = await start();
  const answer = await it.explain('/admin');
  assert.deepEqual([answer.allowed, answer.rule, answer.rule_at], [false, 'routes.admin.require', `${it.file}:15:14`]);
  const { name, takes_requests, endpoints } = answer.upstream as Json;
  assert.deepEqual([name, takes_requests], ['app', true]);
  const [endpoint] = endpoints as Json[];
  assert.match(String(endpoint?.address), /^127\.0\.0\.1:\d+$/);
  assert.equal(endpoint?.state, 'up');
});
