// `doorward convert oauth2-proxy`: its settings file, with and without the structured configuration, becomes a sidecar.yaml that holds.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'yaml';
import { loadConfig, parseConfig } from '../../src/config/load.ts';
import { recordingUpstream, type SeenRequest } from '../support/recording-upstream.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';
import { fixture, routesOf } from './converted.ts';
import { runHere, scratchFolder } from './processes.ts';

test('an oauth2-proxy file for bearer tokens becomes a file that holds; one method open leaves the others guarded', async () => {
  const { code, out, err } = await runHere(['convert', 'oauth2-proxy', fixture('oauth2-proxy-api.cfg')]);
  assert.deepEqual([code, err], [0, '']);
  const { config } = parseConfig({ bytes: Buffer.from(out), file: 'sidecar.yaml', env: {} });
  const both = 'oidc,ci_example_com';
  assert.deepEqual(routesOf(config), [
    ['GET /healthz', 'none', '', 'app'],
    ['POST,PUT,PATCH,DELETE,OPTIONS /healthz', 'required', both, 'app'],
    ['* /public…', 'none', '', 'app'],
    ['* /static…', 'none', '', 'app'],
    ['POST /hooks/git-hub', 'none', '', 'app'],
    ['GET,PUT,PATCH,DELETE,OPTIONS /hooks/git-hub', 'required', both, 'app'],
    ['* /public', 'required', both, 'app'],
    ['* /static', 'required', both, 'app'],
    ['* /…', 'required', both, 'app'],
    ['* /admin…', 'required', both, 'app_2'],
  ]);
  assert.deepEqual(config.proxy.trusted_proxies, ['10.0.0.0/8', '192.0.2.7/32']);
  assert.deepEqual(config.issuers.oidc?.audience, ['shop-api', 'shop-admin']);
  assert.deepEqual(config.routes.all?.require?.roles, { any: ['staff', 'admins'] });
  assert.equal(config.observe.listen, '127.0.0.1:44180');
});

test('the structured configuration of oauth2-proxy beside its file: upstreams, provider and headers, and what has no counterpart is said', async () => {
  using folder = scratchFolder();
  const [out, file] = [folder.file('sidecar.yaml'), fixture('oauth2-proxy-core.cfg')];
  const alpha = ['--alpha-config', fixture('oauth2-proxy-alpha.yaml')];
  const { code, err } = await runHere(['convert', 'oauth2-proxy', file, ...alpha, '--out', out]);
  assert.equal(code, 2, err);
  const { config } = loadConfig({ file: out, env: {} });
  assert.deepEqual(routesOf(config), [
    ['GET /healthz', 'none', '', 'app'],
    ['POST,PUT,PATCH,DELETE,OPTIONS /healthz', 'required', 'keycloak_oidc', 'app'],
    ['* /…', 'required', 'keycloak_oidc', 'app'],
    ['* /api…', 'required', 'keycloak_oidc', 'app_2'],
  ]);
  const { issuer, audience, claims } = config.issuers.keycloak_oidc as NonNullable<(typeof config.issuers)[string]>;
  assert.deepEqual(
    [issuer, audience, claims.roles, claims.subject],
    ['https://sso.example.com/realms/shop', ['shop', 'account'], ['groups'], ['sub']],
  );
  const { all } = config.routes;
  assert.deepEqual(
    [all?.require?.roles, all?.forward_token, all?.response_timeout],
    [{ any: ['/staff'] }, true, 45_000],
  );
  assert.equal(config.proxy.listen, '0.0.0.0:4180');
  assert.equal(config.identity_headers['X-Forwarded-User'], 'subject');
  assert.deepEqual(config.identity_headers['X-Forwarded-Email'], { claim: ['email'], format: 'text' });
  const text = readFileSync(out, 'utf8');
  const [, opening = '', others = ''] = text.split(/^# (?:NOT CONVERTED, AND IT KEPT SOMEBODY OUT|Not converted):$/m);
  for (const path of ['providers[0].keycloakConfig', 'upstreamConfig.upstreams[2]'])
    assert.ok(opening.includes(`# - ${path}:`), path);
  for (const path of ['upstreamConfig.upstreams[1].uri', 'upstreamConfig.upstreams[3]', 'injectRequestHeaders[4]'])
    assert.ok(others.includes(`# - ${path}:`), path);
  assert.doesNotMatch(text, /not-to-print/);
  const alone = await runHere(['convert', 'oauth2-proxy', fixture('oauth2-proxy-alpha.yaml')]);
  assert.equal(alone.code, 2);
  assert.match(alone.err, /goes to --alpha-config$/);
});

test('a groups claim with dots is a path into claims, one that is a URL is not; the root alone can be open', async () => {
  using folder = scratchFolder();
  const convertedFrom = async (more: string) => {
    const text = `oidc_issuer_url = "https://id.example.com"\nclient_id = "api"\nupstreams = ["http://127.0.0.1:3000"]\n${more}`;
    writeFileSync(folder.file('proxy.cfg'), text);
    const { out } = await runHere(['convert', 'oauth2-proxy', folder.file('proxy.cfg')]);
    return parseConfig({ bytes: Buffer.from(out), file: 'sidecar.yaml', env: {} }).config;
  };
  const rolesOf = ({ issuers }: Awaited<ReturnType<typeof convertedFrom>>) => Object.values(issuers)[0]?.claims.roles;
  assert.deepEqual(rolesOf(await convertedFrom('oidc_groups_claim = "realm_access.roles"')), ['realm_access', 'roles']);
  assert.deepEqual(rolesOf(await convertedFrom('oidc_groups_claim = "https://x.example/roles"')), [
    'https://x.example/roles',
  ]);
  assert.deepEqual(routesOf(await convertedFrom('skip_auth_routes = ["GET=^/$"]')), [
    ['GET /', 'none', '', 'app'],
    ['POST,PUT,PATCH,DELETE,OPTIONS /', 'required', 'google', 'app'],
    ['* /…', 'required', 'google', 'app'],
  ]);
});

test('applications that read X-Forwarded-User go on, and clients cannot set it', async () => {
  const { out } = await runHere(['convert', 'oauth2-proxy', fixture('oauth2-proxy-api.cfg')]);
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, { identity_headers: parse(out).identity_headers });
  const spoofed = { 'X-Forwarded-User': 'root', X_Forwarded_Email: 'root@example.com', 'X-Forwarded-Groups': 'admins' };
  const authorization = `Bearer ${tokenFor({ sub: 'ann', email: 'ann@example.com' })}`;
  assert.equal((await fetch(`${sidecar.proxyUrl}/`, { headers: { authorization, ...spoofed } })).status, 200);
  const { headers } = upstream.seen[0] as SeenRequest;
  const told = Object.entries(headers).filter(([name]) => /forwarded[-_](?:user|email|groups)/i.test(name));
  assert.deepEqual(told, [
    ['x-forwarded-user', 'ann'],
    ['x-forwarded-email', 'ann@example.com'],
  ]);
});

test('an oauth2-proxy file for browsers says what is missing, and repeats no secret', async () => {
  const { code, out, err } = await runHere(['convert', 'oauth2-proxy', fixture('oauth2-proxy-browser.cfg')]);
  assert.deepEqual([code, err], [2, '17 not converted, 3 of them kept somebody out: the comments say which']);
  for (const name of [
    'github_org',
    'email_domains',
    'authenticated_emails_file',
    'client_secret',
    'cookie_secret',
    'upstreams[1]',
    'skip_auth_regex[1]',
  ])
    assert.ok(out.includes(`# - ${name}: `), name);
  assert.doesNotMatch(out + err, /not-be-printed|not-to-print/);
  const { config } = parseConfig({ bytes: Buffer.from(out), file: 'sidecar.yaml', env: {} });
  assert.deepEqual(routesOf(config), [['* /…', 'required', 'github', 'app']]);
});
