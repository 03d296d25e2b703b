// Attacks 1 to 18: the path that is judged is the path that is served.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigError } from '../../src/config/problem.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { configFor, startSidecar, tokenFor } from '../support/sidecar.ts';
import { ask, assertForwarded, assertRefused, attackRoutes, bearer, head, valuesOf, world } from './world.ts';

const paths = async (targets: readonly string[], status: number | readonly number[], config = {}) => {
  await using at = await world(config);
  for (const target of targets) await assertRefused(at, head(`GET ${target}`), status, { what: target });
};

test('attack 1: raw dot segments never lead out of a public prefix', () =>
  paths(['/public/../admin', '/public/./../admin', '/..', '/public/..', '/./admin', '/public/..;/admin'], 400));

test('attack 2: encoded dot segments and slashes are refused in every spelling', () =>
  paths(
    [
      '/public/%2e%2e/admin',
      '/public/.%2e/admin',
      '/public/%2e./admin',
      '/public/%2E%2E%2Fadmin',
      '/public/..%2fadmin',
    ],
    400,
  ));

test('attack 3: backslashes, raw and encoded, are refused', () =>
  paths(['/public/%2e%2e%5cadmin', '/public\\..\\admin', '/public%5c..%5cadmin', '/public/%5Cadmin', '\\admin'], 400));

test('attack 4: double encoding is refused, with the relaxation too when a later reading is a dot segment', async () => {
  await paths(['/public/%252e%252e/admin', '/public/%25252e%25252e/admin', '/public/%252fadmin'], 400);
  const relaxed = { public: { ...attackRoutes.public, relax: ['double_encoding'] }, site: attackRoutes.site };
  await using at = await world({ routes: relaxed });
  await assertRefused(at, head('GET /public/%252e%252e/admin'), 400);
  const seen = await assertForwarded(at, head('GET /public/a%2562c?q=%2562'));
  assert.equal(seen.url, '/public/a%2562c?q=%2562', 'never decoded, not once and not twice');
});

test('attack 5: // is neither an authority nor a way round a prefix', async () => {
  await paths(['//admin/x', '//admin', '///admin', '/public//admin', '/admin//x'], 400);
  await using at = await world({ routes: { admin: { ...attackRoutes.admin, relax: ['double_slash'] } } });
  await assertRefused(at, head('GET /admin//x'), 401);
  await assertRefused(at, head('GET //admin/x'), [400, 404]);
});

test('attack 6: targets without a leading slash are refused', async () => {
  await using at = await world();
  for (const line of ['GET admin', 'GET *', 'OPTIONS *', 'GET ?x']) {
    await assertRefused(at, head(line), 400, { what: line });
  }
});

test('attack 7: an absolute-form target is judged and forwarded as one origin, or refused', async () => {
  await using at = await world();
  await assertRefused(at, head('GET http://other/public'), 400);
  await assertRefused(at, head('GET http://app@other/public'), 400);
  await assertRefused(at, head('GET ftp://app/public'), 400);
  await assertRefused(at, head('GET http://app/admin'), 401);
  const seen = await assertForwarded(at, head('GET http://APP/public/x?y'));
  assert.equal(seen.url, '/public/x?y');
  assert.deepEqual(valuesOf(seen, 'host'), ['app']);
});

test('attack 8: a fragment is refused, and an encoded one never widens a template', async () => {
  await paths(['/admin#/public', '/public#', '/public?x#y'], 400);
  const routes = {
    skip: { match: { path: '/foo/{name}/bar' }, auth: 'none' },
    foo: { match: { prefix: '/foo' } },
  };
  await paths(['/foo/secret%23/bar', '/foo/secret%3f/bar', '/foo/secret%2523/bar'], 400, { routes });
});

test('attack 9: rules see the path only, never the query', () =>
  paths(['/admin?x=/public/health', '/admin?/public', '/admin?/../public', '/admin/x?%2e%2e/public'], 401));

test('attack 10: path parameters never change which rule holds', async () => {
  await paths(['/admin;/public', '/public;/../admin', '/admin%3b', '/admin;x=y', '/admin%3Bx/y'], 400);
  await using at = await world();
  const seen = await assertForwarded(at, head('GET /public;v=1/a;b=c'));
  assert.equal(seen.url, '/public;v=1/a;b=c', 'where no reading differs, parameters pass');
});

test('attack 11: another spelling of a protected path never falls to a looser rule', async () => {
  await paths(['/admin/', '/admin/x'], 401);
  await paths(['/ADMIN', '/Admin/x', '/admin//', '/admin%00', '/admin%20', '/admin.', '/%61dmin', '/admin%c0%af'], 400);
  await paths(['/adm\u00efn', '/admin\x01', '/admin%', '/admin%zz'], 400);
});

test('attack 12: a prefix matches whole segments', async () => {
  const routes = { api: { match: { prefix: '/api' }, auth: 'none' }, rest: { match: { prefix: '/' } } };
  await paths(['/apix', '/api-x', '/ap'], 401, { routes });
  await paths(['/api../foo', '/api..;/foo', '/api%2f..%2ffoo'], 400, { routes });
});

test('attack 13: Host matches whatever its case, root dot or port', async () => {
  const routes = {
    app: { match: { prefix: '/', hosts: ['app.example'] } },
    rest: { match: { prefix: '/' }, auth: 'none' },
  };
  await using at = await world({ routes });
  for (const host of ['app.example', 'APP.EXAMPLE', 'app.example.', 'app.example:443', 'App.Example.:8080']) {
    await assertRefused(at, head('GET /', [`Host: ${host}`]), 401, { what: host });
  }
});

test('attack 14: an invalid, repeated or missing Host is refused', async () => {
  await using at = await world();
  const lines = [
    ['Host: a,b'],
    ['Host: a;b'],
    ['Host:'],
    ['Host: a', 'Host: a'],
    ['Host: u@a'],
    ['Host: a/b'],
    ['Host: a b'],
  ];
  for (const fields of [...lines, ['Host: a:99999'], ['Host: a..b'], ['Host: [::1'], ['Host: a%00']]) {
    await assertRefused(at, head('GET /public', fields), 400, { what: String(fields) });
  }
  await assertRefused(at, 'GET /public HTTP/1.1\r\n\r\n', 400);
  await assertRefused(at, 'GET /public HTTP/1.0\r\n\r\n', 400);
});

test('attack 15: the method is the real token, in its only spelling', async () => {
  const routes = {
    read: { match: { prefix: '/docs', methods: ['GET'] }, auth: 'none' },
    write: { match: { prefix: '/docs', methods: ['DELETE'] } },
  };
  await using at = await world({ routes });
  for (const method of ['get', 'FOO', 'Get', 'GET\x0b']) await assertRefused(at, head(`${method} /docs`), 400);
  const trace = await assertRefused(at, head('TRACE /docs'), 405);
  assert.match(trace.headers.allow ?? '', /GET/);
  await assertRefused(at, head('POST /docs'), 405);
  await assertRefused(at, head('DELETE /docs', ['X-HTTP-Method-Override: GET']), 401);
  for (const name of ['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override', 'X_HTTP_Method_Override']) {
    const seen = await assertForwarded(at, head('GET /docs', [`${name}: DELETE`]));
    assert.ok(!seen.rawHeaders.includes('DELETE'), name);
  }
  await assertForwarded(at, head('GET /docs?_method=DELETE'));
});

test('attack 16: two routes that match the same are refused when the configuration loads', async () => {
  await using upstream = await recordingUpstream();
  const routes = { one: { match: { prefix: '/a' } }, two: { match: { prefix: '/a' }, auth: 'none' } };
  await assert.rejects(startSidecar(upstream.url, { routes }), ConfigError);
});

test('attack 17: every request sees one whole configuration while reloads race it', async () => {
  // In each configuration one path is open and the other closed; `x-set` tells the upstream which one judged.
  const set = (name: 'a' | 'b') => ({
    routes: {
      a: { match: { prefix: '/a' }, auth: name === 'a' ? 'none' : 'required' },
      b: { match: { prefix: '/b' }, auth: name === 'b' ? 'none' : 'required' },
    },
  });
  await using at = await world(set('a'));
  const token = tokenFor();
  let done = false;
  const reloading = (async () => {
    for (let round = 0; round < 30; round += 1) {
      at.sidecar.writeConfig(configFor(at.upstream.url, set(round % 2 === 0 ? 'b' : 'a')));
      assert.equal((await at.sidecar.reload()).ok, true);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    done = true;
  })();
  const statuses = { a: new Set<number>(), b: new Set<number>(), token: new Set<number>() };
  while (!done) {
    const [a, b, both] = await Promise.all([
      ask(at.port, head('GET /a')),
      ask(at.port, head('GET /b')),
      ask(at.port, head('GET /a', [bearer(token)])),
    ]);
    statuses.a.add(a.status);
    statuses.b.add(b.status);
    statuses.token.add(both.status);
  }
  await reloading;
  for (const seen of [statuses.a, statuses.b])
    for (const status of seen) assert.ok([200, 401].includes(status), `${status}`);
  assert.deepEqual([...statuses.token], [200], 'a good token is good in every configuration');
});

test('attack 18: two upstreams whose URL and path join to the same text never share a target', async () => {
  await using long = await recordingUpstream();
  await using other = await recordingUpstream();
  const routes = {
    one: { match: { prefix: '/private' }, auth: 'none', upstream: 'one' },
    two: { match: { prefix: '/1' }, auth: 'none', upstream: 'two' },
  };
  await using at = await world({ routes, upstreams: { one: { url: long.url }, two: { url: other.url } } });
  for (const target of ['1/private', ':1/private', '@evil/private', '.evil/private']) {
    await assertRefused(at, head(`GET ${target}`), 400, { what: target });
  }
  await ask(at.port, head('GET /private'));
  await ask(at.port, head('GET /1/private'));
  assert.deepEqual([long.seen.map(({ url }) => url), other.seen.map(({ url }) => url)], [['/private'], ['/1/private']]);
});
