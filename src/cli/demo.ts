// `doorward demo`: a sample application, the sidecar before it, and the lines to try it with. Writes .doorward/demo.json for
// scripts. Nothing else is needed, and nothing of it is left when it ends.
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { makePrivateFolder } from '../core/private-file.ts';
import { startSampleApplication } from './sample-application.ts';
import { freePort, openScratch, type ScratchSidecar, untilInterrupted } from './scratch-sidecar.ts';
import type { Terminal } from './terminal.ts';

const LIMITED = 3;

/** Adds the verb. */
export function addDemo(program: Command, terminal: Terminal): void {
  program
    .command('demo')
    .description('start a sample application behind a sidecar and print requests to try')
    .action(() => demo(terminal));
}

async function demo(terminal: Terminal): Promise<void> {
  const folder = resolve('.doorward');
  const file = join(folder, 'demo.json');
  makePrivateFolder(folder);
  rmSync(file, { force: true });
  await using application = await startSampleApplication();
  const { hasEmbeddedPostgres } = await import('../app/embedded.ts');
  const control = hasEmbeddedPostgres();
  await using scratch = await openDemo(application.url, control, terminal);
  const billing = control ? await addClient(scratch) : undefined;
  const token = await scratch.issue({ subject: 'alice', client: 'demo_app', scopes: ['read'], roles: ['reader'] });
  const leaked = await scratch.issue({ subject: 'mallory', client: 'demo_app', scopes: ['read'] });
  const { proxyUrl: proxy, adminUrl: admin, observeUrl: observe, adminTokenFile } = scratch.sidecar;
  writeWhole(file, { proxy, admin, observe, token, admin_token: scratch.adminToken });
  const links = { proxy, admin: admin as string, observe: observe as string };
  const shown = { ...links, application: application.url, token, leaked, adminTokenFile, billing };
  for (const line of script(shown)) terminal.out(line);
  try {
    await untilInterrupted();
  } finally {
    rmSync(file, { force: true });
  }
}

interface DemoClient {
  readonly client_id: string;
  readonly client_secret: string;
}

async function addClient(scratch: ScratchSidecar): Promise<DemoClient> {
  const client = { name: 'billing', grant_types: ['client_credentials'], scopes: ['read'], tier: 'paid' };
  return (await scratch.call('POST', '/v1/clients', client)) as DemoClient;
}

async function openDemo(upstream: string, control: boolean, terminal: Terminal): Promise<ScratchSidecar> {
  const options = {
    upstream,
    control,
    port: control ? await freePort() : 0,
    limits: {
      per_ip: { key: 'ip' as const, rate: '600/1m' },
      per_client: { key: 'client' as const, tiers: { free: '300/1m', paid: '3000/1m' }, default_tier: 'free' },
      tight: { key: ['client' as const, 'route' as const], rate: `${LIMITED}/1m`, algorithm: 'log' as const },
    },
    routes: {
      all: { match: { prefix: '/' }, limits: ['per_ip', 'per_client'] },
      limited: { match: { path: '/limited' }, limits: ['tight'] },
      open: { match: { path: '/open' }, auth: 'none' as const, limits: ['per_ip'] },
    },
  };
  return openScratch(options, terminal);
}

/** Whoever waits for the file must never read half of it. */
function writeWhole(file: string, value: object): void {
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, `${JSON.stringify(value, undefined, 2)}\n`, { mode: 0o600 });
  renameSync(draft, file);
}

interface Links {
  readonly application: string;
  readonly proxy: string;
  readonly admin: string;
  readonly observe: string;
  readonly token: string;
  readonly leaked: string;
  readonly adminTokenFile: string;
  /** Undefined without the control plane. */
  readonly billing: DemoClient | undefined;
}

/** The lines to paste, in order; each comment says what its line answers. */
function script(links: Links): string[] {
  const { application, proxy, admin, observe, token, leaked, adminTokenFile, billing } = links;
  const bearer = (value: string) => `-H "Authorization: Bearer ${value}"`;
  const operator = bearer(`$(cat '${adminTokenFile}')`);
  const revoke = `-H 'Content-Type: application/json' -d '{"token":"${leaked}","reason":"leaked"}'`;
  const times = Array.from({ length: LIMITED + 1 }, (_, at) => at + 1).join(' ');
  return [
    `proxy ${proxy} -> sample application ${application}`,
    `admin ${admin}   observe ${observe}`,
    'Links and tokens for scripts are in .doorward/demo.json.',
    '',
    '# accepted: 200, and the application sees who is calling',
    `curl -i ${proxy}/ ${bearer(token)}`,
    '',
    '# missing token: 401',
    `curl -i ${proxy}/`,
    '',
    '# a leaked token is revoked: 201',
    `curl -i ${admin}/v1/revocations ${operator} ${revoke}`,
    '',
    '# revoked token: 401 from now on',
    `curl -i ${proxy}/ ${bearer(leaked)}`,
    '',
    `# over the limit: ${Array(LIMITED).fill('200').join(' ')} 429`,
    `for i in ${times}; do curl -s -o /dev/null -w '%{http_code} ' ${proxy}/limited ${bearer(token)}; done; echo`,
    '',
    '# spoofed header: 200, and x-auth-subject is alice all the same',
    `curl -s ${proxy}/ ${bearer(token)} -H 'X-Auth-Subject: admin' -H 'X_Auth_Subject: admin'`,
    '',
    ...(billing === undefined ? [] : clientScript(proxy, admin, billing, operator)),
    'Ctrl-C ends.',
  ];
}

/** What needs PostgreSQL: a registered client, and what was recorded. */
function clientScript(proxy: string, admin: string, billing: DemoClient, operator: string): string[] {
  const ask = `curl -s -u ${billing.client_id}:${billing.client_secret} ${proxy}/.doorward/oauth/token -d grant_type=client_credentials`;
  const pick = `sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/'`;
  return [
    '# the registered client billing asks for a token: 200',
    `${ask} -i`,
    '',
    '# and uses it: 200, and the application sees x-auth-client',
    `curl -s ${proxy}/ -H "Authorization: Bearer $(${ask} | ${pick})"`,
    '',
    '# who did what: 200, the audit log',
    `curl -i '${admin}/v1/audit?limit=5' ${operator}`,
    '',
  ];
}
