// Beat-list 21: every documented variable changes the loaded value. The table is made from the schema, so a new setting
// without a sample value fails here.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import type { z } from 'zod';
import { referenceRows } from '../../src/config/reference.ts';
import { sidecarSchema } from '../../src/config/schema.ts';
import { isSecret, shapesOf } from '../../src/config/shape.ts';
import { valueAt } from '../../src/config/tree.ts';
import { testAuthority } from '../support/certificates.ts';
import { configEnvironment } from '../support/config-keys.ts';
import { parseText, problemsOf, SMALLEST } from '../support/config-text.ts';

const EVERYTHING = `version: 1
name: shop
proxy:
  trusted_proxies: [10.0.0.0/8]
  tls:
    certificates: [{certificate: {env: TLS_PEM}, key: {env: TLS_KEY}, hosts: [app.example.com]}]
    client_certificate: optional
    client_ca: {env: CLIENT_CA_PEM}
upstreams:
  app:
    url: "https://127.0.0.1:3000"
    tls: {server_name: app}
    ejection: {statuses: [502]}
    health: {path: /healthz, status: [200]}
  other: {url: "http://127.0.0.1:3001"}
issuers:
  corp: {issuer: "https://id.example.com/", audience: [api], require: {org: acme}, algorithms: [ES256]}
  self: {issuer: "https://auth.example.com/", audience: [api], sign: {key: {env: PRIVATE_PEM}}}
limits:
  one: {key: [ip, {claim: org}], rate: [20/1m, 50/1h], exempt: [10.0.0.1]}
  two: {key: client, tiers: {free: [1/1m], paid: [5/1m]}, default_tier: free}
defaults: {issuers: [corp], limits: [one]}
routes:
  all:
    match: {prefix: /, hosts: [app.example.com], methods: [GET]}
    upstream: app
    issuers: [corp]
    require: {scopes: [read], roles: {any: [admin]}, claims: {tenant: [acme]}}
    limits: [one]
    credentials: [bearer, {header: X-Token}, {cookie: session}, {query: token}]
    cors: {origins: ["https://app.example.com"]}
    relax: [encoded_slash]
identity_headers: {X-User: subject, X-Org: {claim: org}}
identity_assertion: {keys: [{env: PRIVATE_PEM}]}
clients: {billing: {id: billing, issuer: corp, tier: free, limits: {two: [5/1m]}}}
oauth: {origins: ["https://app.example.com"]}
tiers: {free: {scopes: [read]}, paid: {scopes: [read]}}
default_tier: free
redis: {url: {env: REDIS_URL}}
postgres: {url: {env: POSTGRES_URL}}
control_plane: {public_key: {env: PUBLISHING_PUBLIC_PEM}}
tracing: {endpoint: "https://collector.example.com", attributes: {zone: a}, tls: {ca: {env: CLIENT_CA_PEM}}}
sealing: {kek: {aws_kms: {key_id: new, region: eu-west-1}}, previous_kek: {aws_kms: {key_id: old, region: eu-west-1}}}
`;

/** What to set, where the general samples below would not be accepted. */
const SAMPLES: Readonly<Record<string, string>> = {
  version: '1',
  name: 'store',
  'proxy.listen': '127.0.0.1:8181',
  'proxy.remembered_tokens': '5000',
  'proxy.workers': '2',
  'proxy.trusted_proxies[0]': '192.168.0.0/16',
  'proxy.reserved_prefix': '/.sidecar',
  'proxy.header_size': '32KiB',
  'admin.listen': '127.0.0.1:9911',
  'observe.listen': 'off',
  'upstreams.<name>.url': 'https://127.0.0.2:3000',
  'upstreams.<name>.host': 'upstream',
  'upstreams.<name>.retry_share': '0.3',
  'upstreams.<name>.ejection.longest': '1h',
  'upstreams.<name>.ejection.max_share': '0.3',
  'upstreams.<name>.ejection.statuses[0]': '503',
  'upstreams.<name>.health.path': '/ready',
  'upstreams.<name>.health.timeout': '2s',
  'upstreams.<name>.health.status[0]': '204',
  'issuers.<name>.issuer': 'https://other.example.com/',
  'issuers.<name>.types[0]': 'absent',
  'issuers.<name>.keys.discover': 'true',
  'issuers.<name>.keys.url': 'https://id.example.com/keys',
  'issuers.<name>.keys.cooldown': '1m',
  'issuers.<name>.keys.stale_for': '2h',
  'issuers.<name>.algorithms[0]': 'RS256',
  'issuers.<name>.max_lifetime': '2h',
  'issuers.<name>.clock_tolerance': '2m',
  'issuers.<name>.require.<name>': 'beta',
  'limits.<name>.key[0]': 'subject',
  'limits.<name>.rate[0]': '21/1m',
  'limits.<name>.exempt[0]': '10.0.0.2',
  'limits.<name>.tiers.<name>[0]': '2/1m',
  'limits.<name>.default_tier': 'paid',
  'clients.<name>.tier': 'paid',
  default_tier: 'paid',
  'clients.<name>.issuer': 'self',
  'clients.<name>.limits.<name>[0]': '6/1m',
  'defaults.issuers[0]': 'self',
  'defaults.limits[0]': 'two',
  'routes.<name>.issuers[0]': 'self',
  'routes.<name>.limits[0]': 'two',
  'routes.<name>.upstream': 'other',
  'routes.<name>.match.prefix': '/api',
  'routes.<name>.match.path': '/exact',
  'routes.<name>.auth': 'optional',
  'issuers.<name>.keys.refresh': '20m',
  'limits.<name>.rate[1]': '60/1h',
  'routes.<name>.match.hosts[0]': 'other.example.com',
  'routes.<name>.match.methods[0]': 'PUT',
  'routes.<name>.cors.origins[0]': 'https://other.example.com',
  'routes.<name>.relax[0]': 'double_slash',
  'routes.<name>.credentials[0]': 'websocket',
  'routes.<name>.credentials[1].header': 'X-Other',
  'identity_headers.<name>': 'issuer',
  'identity_headers.<name>.format': 'json_base64url',
  'issuers.<name>.sign.rotate_every': '7d',
  'oauth.authorization_endpoint': 'https://app.example.com/login',
  'oauth.origins[0]': 'https://other.example.com',
  'oauth.limits.token': 'two',
  'oauth.limits.introspect': 'two',
  'oauth.limits.revoke': 'two',
  'oauth.limits.register': 'two',
  'oauth.limits.userinfo': 'two',
  'oauth.limits.documents': 'two',
  'oauth.limits.failures': 'two',
  'audit.retention': '30d',
  'sealing.rotate_after': '7d',
  'sealing.kek.aws_kms.endpoint': 'https://kms.example.com',
  'sealing.previous_kek.aws_kms.endpoint': 'https://kms.example.com',
  'tracing.endpoint': 'https://127.0.0.1:4318/otlp',
  'tracing.ratio': '0.5',
  'tracing.queue': '4096',
  'log.decisions.allow': '0.5',
  'log.decisions.deny': '0.5',
};

/** A Redis that Sentinels know, in place of the URL. */
const BY_SENTINEL = {
  cut: 'url: {env: REDIS_URL}',
  env: {
    DOORWARD__REDIS__SENTINEL__NAME: 'main',
    DOORWARD__REDIS__SENTINEL__NODES__0: 'sentinel:26379',
    DOORWARD__REDIS__PASSWORD__ENV: 'REDIS_URL',
    DOORWARD__REDIS__SENTINEL__PASSWORD__ENV: 'REDIS_URL',
  },
};

/** What else has to change for a setting that contradicts others of EVERYTHING. */
const BESIDE: Readonly<Record<string, { readonly cut?: string; readonly env?: Readonly<Record<string, string>> }>> = {
  'redis.sentinel.name': BY_SENTINEL,
  'redis.sentinel.user': BY_SENTINEL,
  'redis.sentinel.tls.server_name': BY_SENTINEL,
  'redis.user': BY_SENTINEL,
  'redis.tls.server_name': BY_SENTINEL,
  'postgres.embedded': {
    cut: 'redis: {url: {env: REDIS_URL}}\npostgres: {url: {env: POSTGRES_URL}}\ncontrol_plane: {public_key: {env: PUBLISHING_PUBLIC_PEM}}\n',
  },
  'issuers.<name>.keys.published': { cut: ', sign: {key: {env: PRIVATE_PEM}}' },
  'limits.<name>.shadow_until': { env: { DOORWARD__LIMITS__ONE__MODE: 'shadow' } },
  'routes.<name>.shadow_until': { env: { DOORWARD__ROUTES__ALL__MODE: 'shadow' } },
  'limits.<name>.concurrent': { cut: ' rate: [20/1m, 50/1h],' },
  'routes.<name>.match.path': { cut: 'prefix: /, ' },
  'routes.<name>.auth': { cut: '    require: {scopes: [read], roles: {any: [admin]}, claims: {tenant: [acme]}}\n' },
  'issuers.<name>.sign.algorithm': {
    env: { PRIVATE_PEM: generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() },
  },
};

interface Setting {
  /** With `<name>` for chosen names. */
  readonly path: string;
  readonly steps: readonly (string | number)[];
  readonly schema: z.ZodType;
}

/** Every scalar setting, with the names and elements that EVERYTHING has. */
function settings(schema: z.ZodType, tree: unknown, steps: readonly (string | number)[], path: string): Setting[] {
  if (isSecret(schema)) return [];
  const found: Setting[] = [];
  for (const shape of shapesOf(schema)) {
    if (shape.kind === 'scalar' && (tree === undefined || typeof tree !== 'object'))
      found.push({ path, steps, schema });
    if (shape.kind === 'object' && (tree === undefined || (typeof tree === 'object' && !Array.isArray(tree)))) {
      for (const [key, below] of Object.entries(shape.fields)) {
        if (shapesOf(schema).length > 1 && valueAt(tree, [key]) === undefined) continue;
        found.push(...settings(below, valueAt(tree, [key]), [...steps, key], path === '' ? key : `${path}.${key}`));
      }
    }
    if (shape.kind === 'record' && typeof tree === 'object') {
      for (const key of Object.keys(tree ?? {})) {
        found.push(...settings(shape.value, valueAt(tree, [key]), [...steps, key], `${path}.<name>`));
      }
    }
    if (shape.kind === 'list' && Array.isArray(tree)) {
      tree.forEach((item, index) => {
        found.push(...settings(shape.element, item, [...steps, index], `${path}[${index}]`));
      });
    }
  }
  return found;
}

function sampleFor({ path, schema }: Setting): string {
  const own = SAMPLES[path] ?? SAMPLES[path.replace(/\[\d+\]/g, '[0]')];
  if (own !== undefined) return own;
  const shape = shapesOf(schema)[0]!;
  if (shape.kind !== 'scalar') return 'sample';
  if (shape.words) return shape.words.at(-1)!;
  if (shape.type === 'boolean') return 'true';
  if (shape.type === 'number') return '7';
  for (const sample of ['7s', '7KiB', '7/7m', '2030-01-01', 'sample'])
    if (schema.safeParse(sample).success) return sample;
  throw new Error(`no sample for ${path}`);
}

const authority = testAuthority();
const server = authority.issue('app', 'DNS:app.example.com', 'serverAuth');
authority[Symbol.dispose]();
const variables = {
  ...configEnvironment,
  TLS_PEM: server.certificate,
  TLS_KEY: server.key,
  CLIENT_CA_PEM: authority.certificate,
};
const base = parseText(EVERYTHING, variables);
/** One block of each section is enough, and blocks that exist for one setting only serve that one. */
function counts({ path, steps }: Setting): boolean {
  if (/keys\.(file|inline)/.test(path)) return false;
  const block = steps[1];
  if (path.includes('.sign.')) return block === 'self';
  if (/^limits.*\.(tiers|default_tier)/.test(path)) return block === 'two';
  return block !== 'self' && block !== 'other' && block !== 'two';
}

const table = settings(sidecarSchema, base.effective, [], '').filter(counts);

for (const setting of table) {
  const variable = `DOORWARD__${setting.steps.join('__').replaceAll('-', '_').toUpperCase()}`;
  test(`beat-list 21: ${variable} sets ${setting.steps.join('.')}`, () => {
    const { cut = '', env = {} } = BESIDE[setting.path] ?? {};
    const sample = sampleFor(setting);
    const loaded = parseText(EVERYTHING.replace(cut, ''), { ...variables, ...env, [variable]: sample });
    const given = valueAt(loaded.effective, setting.steps);
    assert.equal(String(given), sample);
    if (setting.path === 'version') return;
    assert.notDeepEqual(valueAt(base.effective, setting.steps), given);
    assert.notEqual(loaded.hash, base.hash);
  });
}

test('weakness 3.4.5: the table has the settings of the reference', () => {
  assert.ok(table.length > 100, `only ${table.length}`);
  const documented = referenceRows().map(({ path }) => path.replaceAll('[]', ''));
  const covered = new Set(table.map(({ path }) => path.replace(/\[\d+\]/g, '')));
  const missing = documented.filter(
    (path) => ![...covered].some((known) => known === path || known.startsWith(`${path}.`)),
  );
  assert.deepEqual(missing, [
    'proxy.tls.certificates.certificate',
    'proxy.tls.certificates.key',
    'proxy.tls.client_ca',
    'admin.tls',
    'admin.tls.certificate',
    'admin.tls.key',
    'admin.tls.client_ca',
    'upstreams.<name>.tls.ca',
    'upstreams.<name>.tls.certificate',
    'upstreams.<name>.tls.key',
    'issuers.<name>.keys.file',
    'issuers.<name>.keys.inline',
    'issuers.<name>.keys.pem',
    'issuers.<name>.keys.secret',
    'issuers.<name>.sign.key',
    'identity_assertion.keys',
    'redis.url',
    'redis.sentinel.nodes',
    'redis.sentinel.password',
    'redis.sentinel.tls.ca',
    'redis.cluster',
    'redis.cluster.nodes',
    'redis.password',
    'redis.tls.ca',
    'postgres.url',
    'postgres.tls',
    'postgres.tls.ca',
    'sealing.kek.key',
    'sealing.kek.passphrase',
    'sealing.previous_kek.key',
    'sealing.previous_kek.passphrase',
    'control_plane',
    'control_plane.public_key',
    'control_plane.previous_public_key',
    'control_plane.signing_key',
    'audit.signing_key',
    'tracing.headers',
    'tracing.tls',
    'tracing.tls.ca',
  ]);
});

test('the environment names a secret, and replaces where it comes from', () => {
  const env = { ...variables, OTHER_URL: 'redis://other', DOORWARD__REDIS__URL__ENV: 'OTHER_URL' };
  const { config, secrets } = parseText(EVERYTHING.replace('{env: REDIS_URL}', '{file: /nowhere}'), env);
  assert.equal(secrets.get(config.redis!.url!), 'redis://other');
});

test('the environment adds blocks, and a header keeps the case of the default', () => {
  const { config } = parseText(SMALLEST, {
    DOORWARD__ROUTES__HEALTH__MATCH__PATH: '/healthz',
    DOORWARD__ROUTES__HEALTH__AUTH: 'none',
    DOORWARD__IDENTITY_HEADERS__X_AUTH_CLIENT: 'tenant',
    DOORWARD__PROXY__TRUSTED_PROXIES__1: '10.0.0.2',
    DOORWARD__PROXY__TRUSTED_PROXIES__0: '10.0.0.1',
  });
  assert.equal(config.routes.health?.match.path, '/healthz');
  assert.equal(config.identity_headers['X-Auth-Client'], 'tenant');
  assert.equal(config.identity_headers['X-Auth-Subject'], 'subject');
  assert.deepEqual(config.proxy.trusted_proxies, ['10.0.0.1', '10.0.0.2']);
});

test('variables that Kubernetes injects are ignored', () => {
  const env = {
    DOORWARD_PORT: 'tcp://10.0.0.1:80',
    DOORWARD_SERVICE_HOST: '10.0.0.1',
    DOORWARD: 'x',
    PROXY__LISTEN: 'x',
  };
  assert.equal(parseText(SMALLEST, env).hash, parseText(SMALLEST).hash);
});

const refusals: readonly (readonly [string, string, string])[] = [
  ['DOORWARD__PROXY__LISTEN', '', 'DOORWARD__PROXY__LISTEN proxy.listen: needs host:port, such as 127.0.0.1:8080'],
  ['DOORWARD__PROXY__MAX_CONNECTIONS', 'many', 'DOORWARD__PROXY__MAX_CONNECTIONS proxy.max_connections: needs a number (got text)'],
  ['DOORWARD__PROXY__MAX_CONNECTIONS', '[1]', 'DOORWARD__PROXY__MAX_CONNECTIONS proxy.max_connections: needs one YAML scalar (a number, true, false or text)'],
  ['DOORWARD__PROXY', 'x', 'DOORWARD__PROXY proxy: is not a single value; set one of its settings (listen, tls, trusted_proxies, client_address, reserved_prefix, endpoints, header_size, header_timeout, keep_alive, send_timeout, http2, http2_streams, workers, max_connections, max_requests, max_delay, drain, bad_tokens, remembered_tokens, limit_headers, error_detail)'],
  ['DOORWARD__PROXI__LISTEN', 'x', 'DOORWARD__PROXI__LISTEN: is not a setting (nearest name DOORWARD__PROXY)'],
  ['DOORWARD__ROUTES__ALL__AUT', 'none', 'DOORWARD__ROUTES__ALL__AUT: is not a setting (nearest name DOORWARD__ROUTES__ALL__AUTH)'],
  ['DOORWARD__ROUTES__ALL__AUTH', 'non', 'DOORWARD__ROUTES__ALL__AUTH routes.all.auth: needs one of required, optional, none (nearest name none)'],
  ['DOORWARD__ROUTES', 'x', 'DOORWARD__ROUTES routes: is not a single value; set its entries by name, or use the file'],
  ['DOORWARD__PROXY__TRUSTED_PROXIES__5', '10.0.0.1', 'DOORWARD__PROXY__TRUSTED_PROXIES__5 proxy.trusted_proxies[5]: leaves a gap; the list has 0 elements'],
  ['DOORWARD__', 'x', 'DOORWARD__: is not a setting'],
  ['DOORWARD____PROTO____X', 'x', 'DOORWARD____PROTO____X: is not a setting'],
]; // biome-ignore format: rows read better

for (const [variable, text, expected] of refusals) {
  test(`${variable}=${text} is refused by its name`, () => {
    assert.deepEqual(problemsOf(SMALLEST, { [variable]: text }), [expected]);
  });
}

test('text settings take text as it is: numbers, colons and hashes included; quotes are those of YAML', () => {
  const state = (text: string) => parseText(SMALLEST, { DOORWARD__STATE_DIR: text }).config.state_dir;
  assert.equal(state('123'), '123');
  assert.equal(state('a: b #c'), 'a: b #c');
  assert.equal(state('"a\\tb"'), 'a\tb');
  assert.equal(state("'it''s'"), "it's");
});
