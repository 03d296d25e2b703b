// `doorward convert`: what people have in front of their applications becomes a sidecar.yaml that holds, asks for no less, and
// says what is missing.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { parse, stringify } from 'yaml';
import { loadConfig, parseConfig } from '../../src/config/load.ts';
import type { SidecarConfig } from '../../src/config/schema.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar, testIssuerBlock, tokenFor } from '../support/sidecar.ts';
import { fixture, routesOf } from './converted.ts';
import { runHere, scratchFolder } from './processes.ts';

test('an Envoy file with providers, rules, routes and clusters becomes a file that holds', async () => {
  using folder = scratchFolder();
  const out = folder.file('sidecar.yaml');
  const { code, err } = await runHere(['convert', 'envoy', fixture('envoy.yaml'), '--out', out]);
  assert.deepEqual([code, err], [0, '']);
  assert.equal((await runHere(['check', '--config', out])).code, 0);
  const { config } = loadConfig({ file: out, env: {} });
  const some = 'GET,POST,PUT,PATCH,DELETE';
  assert.deepEqual(routesOf(config), [
    [`${some} /…`, 'required', 'corp_idp', 'app'],
    ['OPTIONS /…', 'none', '', 'app'],
    ['* /healthz', 'none', '', 'app'],
    ['* /partners…', 'required', 'corp_idp,partner', 'app'],
    [`${some} /partners`, 'required', 'corp_idp', 'app'],
    ['OPTIONS /partners', 'none', '', 'app'],
    ['* /catalogue…', 'optional', 'corp_idp', 'app'],
    [`${some} /catalogue`, 'required', 'corp_idp', 'app'],
    ['OPTIONS /catalogue', 'none', '', 'app'],
    [`${some} /grpc.Orders…`, 'required', 'corp_idp', 'orders'],
    ['OPTIONS /grpc.Orders…', 'none', '', 'orders'],
  ]);
  assert.equal(config.proxy.listen, '0.0.0.0:10000');
  const { corp_idp, partner } = config.issuers;
  assert.deepEqual(corp_idp?.audience, ['shop-api', 'shop-web']);
  assert.equal(corp_idp?.keys.url, 'https://id.example.com/jwks.json');
  assert.equal(partner?.keys.inline?.keys.length, 1);
  assert.deepEqual(config.routes.partners?.credentials, [
    'bearer',
    { header: 'X-Partner-Token' },
    { cookie: 'partner_session' },
  ]);
  assert.deepEqual(config.upstreams.app?.url, ['http://127.0.0.1:3000', 'http://127.0.0.1:3001']);
  assert.deepEqual(
    [config.upstreams.orders?.protocol, config.upstreams.orders?.tls?.server_name],
    ['http2', 'orders.internal'],
  );
});

test('what Envoy has and Doorward has not is a comment with its path, exit code 2, and leaves nothing open', async () => {
  const { code, out, err } = await runHere(['convert', 'envoy', fixture('envoy-hard.yaml')]);
  assert.deepEqual([code, err], [2, '17 not converted, 9 of them kept somebody out: the comments say which']);
  const [before, opening, others] = out.split(/^# (?:NOT CONVERTED, AND IT KEPT SOMEBODY OUT|Not converted):$/m);
  assert.match(before as string, /^# Made from .*envoy-hard\.yaml by/);
  const manager = 'static_resources.listeners[0].filter_chains[0].filters[1].typed_config';
  for (const path of [
    '.http_filters[0]:',
    '.http_filters[4]:',
    '.http_filters[1]:',
    '.http_filters[2].typed_config.providers.corp.subjects:',
  ])
    assert.ok(opening?.includes(`# - ${manager}${path}`), path);
  for (const path of [
    '.http_filters[2].typed_config.rules[0].match:',
    '.route_config.virtual_hosts[0].routes[0].redirect:',
  ])
    assert.ok(opening?.includes(`# - ${manager}${path}`), path);
  const chain = 'static_resources.listeners[0].filter_chains[0]';
  for (const path of ['.transport_socket:', '.filters[0]:']) assert.ok(opening?.includes(`# - ${chain}${path}`), path);
  for (const path of [
    `${manager}.http_filters[3]:`,
    `${manager}.xff_num_trusted_hops:`,
    'static_resources.clusters[0].outlier_detection:',
  ])
    assert.ok(others?.includes(`# - ${path}`), path);
  const { config } = parseConfig({ bytes: Buffer.from(out), file: 'sidecar.yaml', env: {} });
  assert.deepEqual(
    Object.values(config.routes).map(({ auth }) => auth),
    ['required', 'required'],
  );
});

/** A bootstrap file with one listener; `http` is the typed_config of its connection manager. */
const bootstrap = (http: object, clusters: object[] = []) => {
  const type = 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager';
  const filters = [{ name: 'in', typed_config: { '@type': type, ...http } }];
  return { static_resources: { listeners: [{ filter_chains: [{ filters }] }], clusters } };
};

const jwtFilter = (settings: object, name = 'tokens') => ({
  name,
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication',
    providers: Object.fromEntries(
      ['auth0', 'other'].map((each) => [
        each,
        {
          issuer: `https://${each}.test/`,
          audiences: ['api'],
          remote_jwks: { http_uri: { uri: `https://${each}.test/k`, cluster: 'k' } },
        },
      ]),
    ),
    ...settings,
  },
});

async function converted(source: object) {
  using folder = scratchFolder();
  writeFileSync(folder.file('envoy.yaml'), stringify(source));
  const { code, out, err } = await runHere(['convert', 'envoy', folder.file('envoy.yaml')]);
  const { config } = parseConfig({ bytes: Buffer.from(out), file: 'sidecar.yaml', env: {} });
  return { code, out, err, config };
}

test('filters of Envoy are known by their type, whatever they are called, and routes call them by that name', async () => {
  const { code, out, config } = await converted(
    bootstrap(
      {
        http_filters: [
          jwtFilter({ rules: [{ match: { prefix: '/' }, requires: { provider_name: 'auth0' } }] }),
          {
            name: 'envoy.filters.http.cors',
            typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC' },
          },
        ],
        route_config: {
          virtual_hosts: [
            {
              domains: ['*'],
              routes: [
                {
                  match: { prefix: '/open' },
                  route: { cluster: 'app' },
                  typed_per_filter_config: { tokens: { disabled: true } },
                },
                { match: { prefix: '/' }, route: { cluster: 'app' } },
              ],
            },
          ],
        },
      },
      [{ name: 'app', http2_protocol_options: {} }],
    ),
  );
  assert.deepEqual(routesOf(config), [
    ['* /…', 'required', 'auth0', 'app'],
    ['* /open…', 'none', '', 'app'],
  ]);
  assert.equal(config.upstreams.app?.protocol, 'http2');
  assert.equal(code, 2);
  const [, opening = ''] = out.split(/^# (?:NOT CONVERTED, AND IT KEPT SOMEBODY OUT|Not converted):$/m);
  assert.match(opening, /envoy\.filters\.http\.rbac has no counterpart/);
  assert.doesNotMatch(opening, /providers/);
});

test('requires_all of one provider and the missing is that provider; of two providers one will do, which is said', async () => {
  const all = (...requirements: object[]) => ({ requires_all: { requirements } });
  const { out, config } = await converted(
    bootstrap({
      http_filters: [
        jwtFilter({
          bypass_cors_preflight: true,
          rules: [
            { match: { prefix: '/health' } },
            { match: { prefix: '/one' }, requires: all({ provider_name: 'other' }, { allow_missing: {} }) },
            { match: { prefix: '/two' }, requires: all({ provider_name: 'auth0' }, { provider_name: 'other' }) },
            { match: { prefix: '/' }, requires: { provider_name: 'auth0' } },
          ],
        }),
      ],
      route_config: {
        virtual_hosts: [{ domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'a' } }] }],
      },
    }),
  );
  assert.deepEqual(
    Object.values(config.routes).map(({ match, auth, issuers, cors }) => [match.prefix, auth, issuers?.join(), cors]),
    [
      ['/', 'required', 'auth0', 'pass'],
      ['/one', 'required', 'other', 'pass'],
      ['/two', 'required', 'auth0,other', 'pass'],
      ['/health', 'none', undefined, 'off'],
    ],
  );
  assert.equal(out.match(/one of them will do/g)?.length, 1);
});

test('audiences of a rule are a demand of its route, and a token for another audience of the issuer is refused there', async () => {
  const rule = (prefix: string, audiences: string[]) => ({
    match: { prefix },
    requires: { provider_and_audiences: { provider_name: 'auth0', audiences } },
  });
  const providers = {
    auth0: {
      issuer: 'https://id.test/',
      audiences: ['api', 'shop'],
      remote_jwks: { http_uri: { uri: 'https://id.test/k', cluster: 'k' } },
    },
  };
  const { code, out, config } = await converted(
    bootstrap(
      {
        http_filters: [
          jwtFilter({
            providers,
            rules: [
              rule('/shop', ['shop']),
              rule('/elsewhere', ['other']),
              { match: { prefix: '/' }, requires: { provider_name: 'auth0' } },
            ],
          }),
        ],
        route_config: {
          virtual_hosts: [{ domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'app' } }] }],
        },
      },
      [],
    ),
  );
  assert.equal(code, 2);
  assert.match(out, /^# - .*rules\[1\].*audiences: list other under the audience of the issuer auth0 too$/m);
  // Envoy's prefix takes /shopping too.
  assert.match(out, /^# - \/shop: in Envoy this prefix takes \/shop… too/m);
  assert.deepEqual(config.routes.shop?.require, { claims: { aud: ['shop'] } });
  await using upstream = await recordingUpstream();
  const { shop, all } = parse(out).routes;
  const routes = { shop: { ...shop, issuers: ['test'] }, all: { ...all, issuers: ['test'] } };
  await using sidecar = await startSidecar(upstream.url, {
    issuers: { test: { ...testIssuerBlock, audience: ['api', 'shop'] } },
    routes,
  });
  const status = async (path: string, aud: string) =>
    (await fetch(sidecar.proxyUrl + path, { headers: { authorization: `Bearer ${tokenFor({ aud })}` } })).status;
  assert.deepEqual(
    [await status('/shop', 'shop'), await status('/shop', 'api'), await status('/', 'api')],
    [200, 403, 200],
  );
});

test('of clusters with weights the heaviest serves; a route whose cluster cannot be said kept somebody out', async () => {
  const { out, config } = await converted(
    bootstrap({
      http_filters: [jwtFilter({ rules: [{ match: { prefix: '/split' }, requires: { provider_name: 'auth0' } }] })],
      route_config: {
        virtual_hosts: [
          {
            domains: ['*'],
            routes: [
              {
                match: { prefix: '/split' },
                route: {
                  weighted_clusters: {
                    clusters: [
                      { name: 'new', weight: 10 },
                      { name: 'app', weight: 90 },
                    ],
                  },
                },
              },
              { match: { prefix: '/named' }, route: { cluster_header: 'x-cluster' } },
              { match: { prefix: '/' }, route: { cluster: 'front' } },
            ],
          },
        ],
      },
    }),
  );
  assert.deepEqual(routesOf(config), [
    ['* /…', 'none', '', 'front'],
    ['* /split…', 'required', 'auth0', 'app'],
  ]);
  const [, opening = ''] = out.split(/^# (?:NOT CONVERTED, AND IT KEPT SOMEBODY OUT|Not converted):$/m);
  assert.match(opening, /routes\[1\]\.route: names no cluster/);
  assert.match(out, /weighted_clusters: requests are not divided here: all go to app/);
});

/** What Envoy asks of a request: its first route, then its first rule. */
function askedByEnvoy(routes: readonly Entry[], rules: readonly Entry[], path: string): string {
  const takes = ({ prefix, exact }: Entry) => (prefix === undefined ? path === exact : path.startsWith(prefix));
  if (!routes.some(takes)) return 'unserved';
  const rule = rules.find(takes);
  if (rule === undefined || rule.need === 'none') return 'none';
  return rule.need as string;
}

interface Entry {
  readonly prefix?: string | undefined;
  readonly exact?: string | undefined;
  readonly need?: string;
}

/** What a converted file asks: the exact path, then the longest prefix of whole segments. */
function askedHere(config: SidecarConfig, path: string): string {
  const all = Object.values(config.routes);
  const exact = all.find(({ match }) => match.path === path);
  const prefixes = all
    .filter(({ match: { prefix } }) => prefix !== undefined && (prefix === '/' || `${path}/`.startsWith(`${prefix}/`)))
    .sort((a, b) => (b.match.prefix as string).length - (a.match.prefix as string).length);
  return (exact ?? prefixes[0])?.auth ?? 'unserved';
}

test('property: whatever the order of Envoy lists, the result asks for no less where it says nothing else', async () => {
  using folder = scratchFolder();
  const strictness = ['none', 'optional', 'required', 'unserved'];
  const place = fc.constantFrom('/', '/a', '/a/', '/a/b', '/a/b/', '/ab', '/c');
  const entry = fc.record({ place, isPrefix: fc.boolean(), need: fc.constantFrom('none', 'optional', 'required') });
  const shaped = ({ place: at, isPrefix, need }: { place: string; isPrefix: boolean; need: string }): Entry =>
    isPrefix ? { prefix: at, need } : { exact: at, need };
  const lists = fc.record({
    routes: fc.array(entry, { minLength: 1, maxLength: 4 }),
    rules: fc.array(entry, { maxLength: 5 }),
  });
  await fc.assert(
    fc.asyncProperty(lists, async ({ routes: routeList, rules: ruleList }) => {
      const [routes, rules] = [routeList.map(shaped), ruleList.map(shaped)];
      writeFileSync(folder.file('envoy.yaml'), stringify(envoyWith(routes, rules)));
      const { out } = await runHere(['convert', 'envoy', folder.file('envoy.yaml')]);
      const config = parseConfig({ bytes: Buffer.from(out), file: 'sidecar.yaml', env: {} }).config;
      for (const path of ['/', '/a', '/a/', '/a/b', '/a/b/x', '/a/z', '/ab', '/ab/x', '/abc', '/c', '/cd', '/x']) {
        const [envoy, here] = [askedByEnvoy(routes, rules, path), askedHere(config, path)];
        const isLess = strictness.indexOf(here) < strictness.indexOf(envoy);
        // A path that Envoy did not serve at all, and prefixes that are no whole segments, are said.
        if (isLess)
          assert.ok(
            envoy === 'unserved' || out.includes('KEPT SOMEBODY OUT'),
            `${path}: ${envoy} there, ${here} here\n${out}`,
          );
        const isWhole = [...routes, ...rules].every(
          ({ prefix }) =>
            prefix === undefined || `${path}/`.startsWith(`${prefix.replace(/\/$/, '')}/`) === path.startsWith(prefix),
        );
        if (isWhole && envoy !== 'unserved') assert.equal(here, envoy, `${path}\n${out}`);
      }
    }),
    { numRuns: 60 },
  );
});

function envoyWith(routes: readonly Entry[], rules: readonly Entry[]) {
  const matchOf = ({ prefix, exact }: Entry) => (prefix === undefined ? { path: exact } : { prefix });
  const requires = {
    required: { provider_name: 'p' },
    optional: { requires_any: { requirements: [{ provider_name: 'p' }, { allow_missing: {} }] } },
  };
  const providers = {
    p: {
      issuer: 'https://id.test/',
      audiences: ['api'],
      remote_jwks: { http_uri: { uri: 'https://id.test/k', cluster: 'k' } },
    },
  };
  const jwt = {
    providers,
    rules: rules.map((rule) => ({
      match: matchOf(rule),
      ...(rule.need !== 'none' && { requires: requires[rule.need as 'required'] }),
    })),
  };
  const typed_config = {
    http_filters: [{ name: 'envoy.filters.http.jwt_authn', typed_config: jwt }],
    route_config: {
      virtual_hosts: [
        { domains: ['*'], routes: routes.map((route) => ({ match: matchOf(route), route: { cluster: 'app' } })) },
      ],
    },
  };
  const filters = [{ name: 'envoy.filters.network.http_connection_manager', typed_config }];
  return { static_resources: { listeners: [{ filter_chains: [{ filters }] }] } };
}

test('paths that no route may have are left out and said, and the file holds', async () => {
  using folder = scratchFolder();
  const source = folder.file('source');
  const [all, star] = [{ prefix: '/' }, { exact: '/admin/*', need: 'required' }];
  writeFileSync(source, stringify(envoyWith([all], [star, { prefix: '/', need: 'optional' }])));
  const envoy = await runHere(['convert', 'envoy', source]);
  assert.match(envoy.err, /, 1 of them kept somebody out: the comments say which$/);
  assert.match(envoy.out, /^# - .*rules\[0\]\.match: the path cannot be said: \* stands for nothing/m);
  parseConfig({ bytes: Buffer.from(envoy.out), file: 'sidecar.yaml', env: {} });
  const upstreams = ['http://127.0.0.1:3000/', 'http://127.0.0.1:3001/a%2Ab/*'];
  writeFileSync(
    source,
    `provider = "oidc"\noidc_issuer_url = "https://id.test"\nupstreams = ${JSON.stringify(upstreams)}\n`,
  );
  const proxy = await runHere(['convert', 'oauth2-proxy', source]);
  assert.match(proxy.out, /^# - upstreams\[1\]: .* cannot be the path of a route: \* stands for nothing/m);
  const { config } = parseConfig({ bytes: Buffer.from(proxy.out), file: 'sidecar.yaml', env: {} });
  assert.deepEqual(routesOf(config), [['* /…', 'required', 'oidc', 'app']]);
});

test('nothing is overwritten, and a file that is no such configuration is said in one line', async () => {
  using folder = scratchFolder();
  const [out, bad] = [folder.file('sidecar.yaml'), folder.file('bad')];
  writeFileSync(out, 'mine');
  const again = await runHere(['convert', 'envoy', fixture('envoy.yaml'), '--out', out]);
  assert.deepEqual(
    [again.code, again.err, readFileSync(out, 'utf8')],
    [2, `${out}: already there; --force overwrites`, 'mine'],
  );
  assert.equal((await runHere(['convert', 'envoy', fixture('envoy.yaml'), '--out', out, '--force'])).code, 0);
  const table: readonly [string, string, RegExp][] = [
    ['envoy', 'a: [', /bad: no YAML: /],
    ['envoy', 'a: 1', /no envoy\.filters\.network\.http_connection_manager/],
    [
      'envoy',
      'static_resources: {listeners: [{filter_chains: [{filters: [{name: envoy.filters.network.http_connection_manager, typed_config: {route_config: {virtual_hosts: [{domains: 7}]}}}]}]}]}',
      /not laid out/,
    ],
    ['oauth2-proxy', 'a = [', /bad: no TOML: /],
    ['oauth2-proxy', 'upstreams = [1]', /not laid out|not converted/],
  ];
  for (const [from, text, wanted] of table) {
    writeFileSync(bad, text);
    const { code, err } = await runHere(['convert', from, bad]);
    assert.deepEqual([code, wanted.test(err) ? '' : err], [2, ''], text);
  }
});
