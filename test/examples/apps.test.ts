// examples/apps, each behind a real sidecar: they read who is calling, believe nobody else, and verify the assertion.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { accepts } from '../support/daemon.ts';
import { freePort } from '../support/free-port.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';
import { ensureGo, ensurePythonJwt } from '../support/system-packages.ts';

const apps = fileURLToPath(new URL('../../examples/apps/', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'doorward-examples-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

type Kind = 'headers' | 'assertion';

/** The command of each example. */
const languages: Readonly<Record<string, (kind: Kind) => readonly string[]>> = {
  node: (kind) => [process.execPath, join(apps, `node/${kind}.mjs`)],
  python: (kind) => [ensurePythonJwt(), join(apps, `python/${kind}.py`)],
  go: (kind) => [goProgram(kind)],
};

function goProgram(kind: Kind): string {
  ensureGo();
  const program = join(scratch, kind);
  // Without a network: these have no dependencies.
  const env = { ...process.env, GOFLAGS: '-mod=mod', GOPROXY: 'off', GO111MODULE: 'on' };
  execFileSync('go', ['vet', `./${kind}`], { cwd: join(apps, 'go'), env });
  execFileSync('go', ['build', '-o', program, `./${kind}`], { cwd: join(apps, 'go'), env });
  return program;
}

/** Starts an application; ends with `await using`. */
async function startApp(
  [program, ...args]: readonly string[],
  port: number,
  env: Readonly<Record<string, string>> = {},
) {
  const child = spawn(program as string, args, {
    env: { PATH: process.env.PATH, PORT: String(port), ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (chunk) => (said += chunk));
  const ended = once(child, 'exit');
  for (let attempt = 0; !(await accepts(port)); attempt += 1) {
    if (child.exitCode !== null || attempt > 1200) throw new Error(`did not start: ${said}`);
    await sleep(25);
  }
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

async function get(url: string, headers: Readonly<Record<string, string>> = {}) {
  const response = await fetch(url, { headers });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

const routes = { open: { match: { prefix: '/open' }, auth: 'optional' }, all: { match: { prefix: '/' } } };
const bearer = (claims: object = {}) => ({ authorization: `Bearer ${tokenFor({ ...claims })}` });

for (const [language, commandOf] of Object.entries(languages)) {
  test(`${language}: headers tell the application who is calling, and nobody else can set them`, async () => {
    const port = await freePort();
    await using app = await startApp(commandOf('headers'), port);
    await using sidecar = await startSidecar(app.url, { routes });
    const claims = { sub: 'ann ü', roles: ['editor', 'a,b%'], scope: 'read write', tenant: 'acme', client_id: 'web' };
    const { status, body } = await get(`${sidecar.proxyUrl}/orders`, bearer(claims));
    assert.equal(status, 200);
    assert.deepEqual(body.caller, {
      subject: 'ann ü',
      issuer: 'https://id.test/',
      client: 'web',
      tenant: 'acme',
      scopes: ['read', 'write'],
      roles: ['editor', 'a,b%'],
    });
    const spoofed = { 'X-Auth-Subject': 'root', x_auth_subject: 'root', 'X-Auth-Issuer': 'https://id.test/' };
    assert.equal((await get(`${sidecar.proxyUrl}/open`, spoofed)).body.caller, null);
    assert.equal((await get(`${sidecar.proxyUrl}/orders`, spoofed)).status, 401);
    const both = await get(`${sidecar.proxyUrl}/orders`, { ...bearer({ sub: 'ann' }), ...spoofed });
    assert.equal((both.body.caller as { subject: string }).subject, 'ann');
  });

  test(`${language}: without an assertion of this sidecar for this application nobody is believed`, async () => {
    const port = await freePort();
    const upstream = `http://127.0.0.1:${port}`;
    const assertion = { identity_assertion: { enabled: true }, name: 'shop', routes };
    await using sidecar = await startSidecar(upstream, assertion);
    await using other = await startSidecar(upstream, { ...assertion, name: 'other_app' });
    const JWKS_URL = `${sidecar.proxyUrl}/.doorward/assertion/jwks.json`;
    await using app = await startApp(commandOf('assertion'), port, { JWKS_URL, AUDIENCE: 'shop' });

    const accepted = await get(`${sidecar.proxyUrl}/orders`, bearer({ sub: 'ann', roles: ['editor'] }));
    assert.deepEqual(accepted, {
      status: 200,
      body: { path: '/orders', caller: { subject: 'ann', roles: ['editor'] } },
    });
    // Past the sidecar: no assertion, headers alone, a token that is none, an assertion that somebody else signed.
    assert.equal((await get(`${app.url}/orders`)).status, 401);
    assert.equal((await get(`${app.url}/orders`, { 'X-Auth-Subject': 'root' })).status, 401);
    assert.equal((await get(`${app.url}/orders`, { 'X-Auth-Assertion': tokenFor() })).status, 401);
    assert.equal((await get(`${other.proxyUrl}/orders`, bearer())).status, 401);
    // One that a client brings does not get through.
    assert.equal((await get(`${sidecar.proxyUrl}/open`, { 'X-Auth-Assertion': tokenFor() })).status, 401);
  });

  test(`${language}: an assertion for another application is refused`, async () => {
    const port = await freePort();
    const assertion = { identity_assertion: { enabled: true }, name: 'shop' };
    await using sidecar = await startSidecar(`http://127.0.0.1:${port}`, assertion);
    const JWKS_URL = `${sidecar.proxyUrl}/.doorward/assertion/jwks.json`;
    await using _app = await startApp(commandOf('assertion'), port, { JWKS_URL, AUDIENCE: 'warehouse' });
    assert.equal((await get(`${sidecar.proxyUrl}/orders`, bearer())).status, 401);
  });
}
