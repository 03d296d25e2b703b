// Every file under config/examples loads as it is, with what its comments ask for given by the environment.
import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadConfig } from '../../src/config/load.ts';
import type { SidecarConfig } from '../../src/config/schema.ts';
import { configEnvironment } from '../support/config-keys.ts';
import { temporaryFolder } from '../support/config-text.ts';

const folder = fileURLToPath(new URL('../../config/examples/', import.meta.url));

/** What each example is there to show. */
const shows: Readonly<Record<string, (config: SidecarConfig) => unknown>> = {
  'auth-request': ({ proxy }) => proxy.endpoints.verdict,
  caddy: ({ proxy }) => proxy.trusted_proxies[0] === '127.0.0.1/32' && proxy.keep_alive > 60_000,
  auth0: ({ issuers }) => issuers.auth0?.claims.roles[0] === 'permissions',
  cognito: ({ issuers }) => issuers.cognito?.audience_claim === 'client_id' && issuers.cognito.types[0] === 'absent',
  entra: ({ issuers }) => issuers.entra?.require.tid && issuers.entra.claims.tenant[0] === 'tid',
  'ext-authz': ({ proxy }) => proxy.endpoints.verdict && proxy.keep_alive > 60_000,
  'forward-auth': ({ proxy }) => proxy.endpoints.verdict && proxy.keep_alive > 90_000,
  haproxy: ({ proxy }) => proxy.trusted_proxies[0] === '127.0.0.1/32',
  'fleet-sidecar': ({ redis, limits, clients }) => redis && limits.per_client?.tiers?.free && clients.billing?.tier,
  'fleet-control-plane': ({ postgres, proxy, routes }) =>
    postgres && proxy.endpoints.oauth && Object.keys(routes).length === 0,
  'identity-server': ({ postgres, proxy, routes, oauth, upstreams }) =>
    postgres &&
    proxy.endpoints.oauth &&
    oauth.authorization_endpoint &&
    Object.keys({ ...routes, ...upstreams }).length === 0,
  'ingress-nginx': ({ proxy, name }) => proxy.trusted_proxies.length === 1 && name,
  keycloak: ({ issuers }) => issuers.keycloak?.claims.roles.join() === 'realm_access,roles',
  laptop: ({ issuers, proxy }) => issuers.self?.sign && proxy.listen.startsWith('127.'),
  nginx: ({ proxy }) => proxy.trusted_proxies[0] === '127.0.0.1/32',
  okta: ({ issuers }) => issuers.okta?.types.includes('absent') && issuers.okta.claims.scopes?.[0] === 'scp',
  pod: ({ routes }) => routes.health?.auth === 'none',
  'several-endpoints': ({ upstreams }) => upstreams.app?.url.length === 3 && upstreams.app.health && upstreams.local,
  'several-issuers': ({ routes, issuers }) =>
    routes.partners?.issuers?.length === 2 && issuers.old_service?.keys.secret,
  smallest: ({ routes }) => routes.all?.auth === 'required',
  tracing: ({ tracing }) => tracing?.believe === 'trusted_proxies' && tracing.ratio === 0.01,
};

const stores = {
  DATABASE_URL: 'postgres://doorward:word@db.example/doorward',
  DOORWARD_KEK: randomBytes(32).toString('base64'),
};

function publishingKeys(temporary: ReturnType<typeof temporaryFolder>) {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  const pub = publicKey.export({ type: 'spki', format: 'pem' }) as string;
  return {
    ...stores,
    DOORWARD__CONTROL_PLANE__SIGNING_KEY__FILE: temporary.write('publish.key', key),
    DOORWARD__CONTROL_PLANE__PUBLIC_KEY__FILE: temporary.write('publish.pub', pub),
  };
}

test('every example has its test', () => {
  assert.deepEqual(
    readdirSync(folder)
      .filter((name) => name.endsWith('.yaml'))
      .sort(),
    Object.keys(shows)
      .map((name) => `${name}.yaml`)
      .sort(),
  );
});

for (const [name, holds] of Object.entries(shows)) {
  test(`the example ${name} loads without a warning, and is commented`, () => {
    using temporary = temporaryFolder();
    const env = {
      ...configEnvironment,
      OLD_SERVICE_SECRET: configEnvironment.JWT_SECRET!,
      ...(name === 'fleet-sidecar' && {
        DOORWARD__ISSUERS__SELF__SIGN__KEY__FILE: temporary.write('key.pem', configEnvironment.PRIVATE_PEM!),
      }),
      ...(name === 'fleet-control-plane' && publishingKeys(temporary)),
      ...(name === 'identity-server' && stores),
    };
    const file = `${folder}${name}.yaml`;
    const { config, warnings } = loadConfig({ file, env });
    assert.deepEqual(warnings, []);
    assert.ok(holds(config));
    assert.match(readFileSync(file, 'utf8'), /^# .+\n/);
  });
}
