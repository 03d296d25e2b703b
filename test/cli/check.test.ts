// `check`: whether a file holds, and whether it may go out.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { freePort } from '../support/free-port.ts';
import { mintKey, startJwksServer } from '../support/minting.ts';
import { startRedis } from '../support/redis-server.ts';
import { run, runHere, scratchFolder } from './processes.ts';

const HOLDS = `version: 1
upstreams: {app: {url: "http://127.0.0.1:3000"}}
issuers: {corp: {issuer: "https://id.example.com/", audience: [api]}}
limits: {per_ip: {key: ip, rate: 20/1m}}
routes:
  api: {match: {prefix: /api, methods: [GET]}, limits: [per_ip], relax: [encoded_slash]}
  health: {match: {path: /healthz}, auth: none}
`;

test('a file that holds: exit 0, the route table, relaxations, in a process of its own', async () => {
  using folder = scratchFolder();
  writeFileSync(folder.file('sidecar.yaml'), HOLDS);
  const { code, out, err } = await run(['check'], { cwd: folder.path });
  assert.deepEqual([code, err], [0, '']);
  assert.match(out, /^ROUTE +MATCH +UPSTREAM +AUTH +ISSUERS +LIMITS$/m);
  assert.match(out, /^api +GET prefix \/api +app +required +corp +per_ip$/m);
  assert.match(out, /^health +\* path \/healthz +app +none +- +-$/m);
  assert.match(
    out,
    /^relaxed: sidecar\.yaml:6:73 routes\.api\.relax: encoded_slash: paths that servers read differently$/m,
  );
  assert.match(out, /^relaxed: sidecar\.yaml:7:43 routes\.health\.auth: none: needs no token$/m);
});

test('a file that does not hold: exit 3, one problem a line with its place, all of them', async () => {
  using folder = scratchFolder();
  const bad = HOLDS.replace('rate: 20/1m', 'rate: 20').replace('limits: [per_ip]', 'limits: [per_ipp]');
  writeFileSync(folder.file('sidecar.yaml'), bad);
  const { code, out, err } = await run(['check'], { cwd: folder.path });
  assert.deepEqual([code, out], [3, '']);
  assert.deepEqual(
    err
      .trim()
      .split('\n')
      .map((line) => line.replace(/: .*/, '')),
    ['sidecar.yaml:4:34 limits.per_ip.rate', 'sidecar.yaml:6:57 routes.api.limits[0]'],
  );
});

test('attack 130: an unresolved secret refuses check and run with exit 3, and never counts as an empty string', async () => {
  using folder = scratchFolder();
  const file = folder.file('sidecar.yaml');
  for (const reference of ['{env: NOT_SET}', '{env: EMPTY}', '{file: ./absent}']) {
    writeFileSync(file, `${HOLDS}name: x\nredis: {url: ${reference}}\n`);
    for (const verb of ['check', 'run']) {
      const { code, err } = await run([verb], { cwd: folder.path, env: { EMPTY: '' } });
      assert.equal(code, 3, `${verb} ${reference}`);
      assert.match(err, /^sidecar\.yaml:\d+:\d+ redis\.url: /);
    }
  }
});

test('H16 K23: --production refuses memory stores, written secrets, shadow routes, an open / and told reasons', async () => {
  using folder = scratchFolder();
  const file = folder.file('sidecar.yaml');
  writeFileSync(
    file,
    `version: 1
proxy: {error_detail: reason}
upstreams: {app: {url: "http://127.0.0.1:3000"}}
issuers: {hs: {issuer: "https://id.example.com/", audience: [api], keys: {secret: {value: "qW7-zX2.vB9_nM4+kL6=pO3"}}}}
routes: {all: {match: {prefix: /}, auth: none}, try: {match: {prefix: /try}, mode: shadow}}
`.replace('pO3"', 'pO3-rT8/yU1-hG5"'),
  );
  assert.equal((await runHere(['check', '--config', file])).code, 0);
  const { code, err } = await runHere(['check', '--production', '--config', file]);
  assert.equal(code, 3);
  const paths = ['redis', 'proxy.error_detail', 'issuers.hs.keys.secret', 'routes.all.auth', 'routes.try.mode'];
  for (const path of paths)
    assert.match(err, new RegExp(`sidecar\\.yaml(:\\d+:\\d+)? ${path.replaceAll('.', '\\.')}: `));
  assert.equal(err.split('\n').length, paths.length + 1);
  assert.doesNotMatch(err, /qW7/);
});

test('shadow mode with an end may go out; without one, or past it, --production refuses, and check says which is over', async () => {
  using folder = scratchFolder();
  const file = folder.file('sidecar.yaml');
  const text = (route: string, limit: string) => `version: 1
name: shop
upstreams: {app: {url: "http://127.0.0.1:3000"}}
issuers: {corp: {issuer: "https://id.example.com/", audience: [api]}}
limits: {per_ip: {key: ip, rate: 20/1m${limit}}}
redis: {url: {env: REDIS_URL}}
routes: {api: {match: {prefix: /api}${route}}}
`;
  const checked = async (route: string, limit: string, ...more: string[]) => {
    writeFileSync(file, text(route, limit));
    const ended = await runHere(['check', ...more, '--config', file], '', { REDIS_URL: 'redis://127.0.0.1' });
    return { ...ended, said: ended.err.replaceAll(`${file}:`, '').trim() };
  };
  const [coming, past] = [', mode: shadow, shadow_until: 2999-12-31', ', mode: shadow, shadow_until: 2026-01-01'];
  const fit = await checked(coming, coming, '--production');
  assert.deepEqual([fit.code, fit.said], [0, '']);
  assert.match(fit.out, /^api +\* prefix \/api +app +required \(shadow until 2999-12-31\) /m);
  for (const [route, limit, said] of [
    [
      ', mode: shadow',
      coming,
      '7:45 routes.api.mode: is shadow without an end: nothing is refused; give it shadow_until',
    ],
    [
      '',
      ', mode: shadow',
      '5:47 limits.per_ip.mode: is shadow without an end: nothing is refused; give it shadow_until',
    ],
    [past, '', '7:67 routes.api.shadow_until: has passed: enforced since; take it and mode: shadow out'],
    ['', past, '5:69 limits.per_ip.shadow_until: has passed: enforced since; take it and mode: shadow out'],
  ] as const) {
    const { code, said: refused } = await checked(route, limit, '--production');
    assert.deepEqual([code, refused], [3, `${said}\n${file} is not fit for production`]);
  }
  const plain = await checked(past, '');
  assert.deepEqual(
    [plain.code, plain.said],
    [0, 'warning: 7:67 routes.api.shadow_until: has passed: enforced since; take it and mode: shadow out'],
  );
  assert.match(plain.out, /^api +\* prefix \/api +app +required +corp/m);
  const { routes } = JSON.parse((await checked(coming, '', '--json')).out);
  assert.deepEqual([routes[0].mode, routes[0].shadow], ['shadow', 'shadow until 2999-12-31']);
});

test('H16 K23: a placeholder for a shared secret is refused everywhere, not only in production', async () => {
  using folder = scratchFolder();
  const file = folder.file('sidecar.yaml');
  for (const secret of ['changeme-changeme-changeme-changeme', 'a'.repeat(40), 'short']) {
    writeFileSync(file, HOLDS.replace('audience: [api]', `audience: [api], keys: {secret: {env: S}}`));
    const { code, err } = await runHere(['check', '--config', file], '', { S: secret });
    assert.equal(code, 3, secret);
    assert.ok(!err.includes(secret), secret);
  }
});

test('--online reaches issuers, Redis and upstreams and says which one fails', async () => {
  using folder = scratchFolder();
  const key = mintKey('ES256');
  await using issuer = await startJwksServer([key.jwk]);
  await using redis = await startRedis('--maxmemory-policy', 'allkeys-lru');
  const upstream = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  const { port } = upstream.address() as { port: number };
  const file = folder.file('sidecar.yaml');
  writeFileSync(
    file,
    `version: 1
name: online
upstreams: {app: {url: "http://127.0.0.1:${port}"}, gone: {url: "http://127.0.0.1:${await freePort()}"}}
issuers:
  good: {issuer: "${issuer.url}", audience: [api]}
  gone: {issuer: "http://127.0.0.1:${await freePort()}", audience: [api]}
redis: {url: {env: REDIS_URL}}
routes: {all: {match: {prefix: /}, upstream: app, issuers: [good, gone]}}
`,
  );
  const { code, out } = await runHere(['check', '--online', '--config', file], '', { REDIS_URL: redis.url });
  upstream.close();
  assert.equal(code, 1);
  assert.match(out, /^ok {5}issuers\.good: 1 keys \(es256\)$/m);
  assert.match(out, /^FAILED issuers\.gone: /m);
  assert.match(out, /^FAILED redis: redis_eviction_policy$/m);
  assert.match(out, /^ok {5}upstreams\.app: accepts connections$/m);
  assert.match(out, /^FAILED upstreams\.gone: .*ECONNREFUSED/m);
});

test('--json gives the same as data, for both outcomes', async () => {
  using folder = scratchFolder();
  const file = folder.file('sidecar.yaml');
  writeFileSync(file, HOLDS);
  const good = await runHere(['check', '--json', '--config', file]);
  assert.deepEqual(
    JSON.parse(good.out).routes.map((route: { name: string }) => route.name),
    ['api', 'health'],
  );
  writeFileSync(file, `${HOLDS}surprise: 1\n`);
  const bad = await runHere(['check', '--json', '--config', file]);
  assert.equal(bad.code, 3);
  assert.equal(JSON.parse(bad.out).problems.length, 1);
});
