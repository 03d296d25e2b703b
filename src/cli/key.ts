// `doorward key`: signing keys of a running control plane, and the key pair that published documents are signed with.
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { createPrivateFile, makePrivateFolder } from '../core/private-file.ts';
import { type AdminOptions, callAdmin, callPages, withAdminOptions } from './admin-client.ts';
import { CliError } from './exit-codes.ts';
import { type Terminal, tableLines } from './terminal.ts';

interface KeyRow {
  readonly kid: string;
  readonly issuer: string;
  readonly algorithm: string;
  readonly state: string;
  readonly signs_from: string;
  readonly retires_at: string | null;
  readonly ended_at: string | null;
}

interface Timeline {
  readonly keys: readonly KeyRow[];
  readonly next_step_at: string | null;
  readonly applied?: 'all' | 'pending';
}

/** Adds the noun. */
export function addKey(program: Command, terminal: Terminal): void {
  const key = program.command('key').description('signing keys of our own issuers');
  withAdminOptions(key.command('list'))
    .description('signing keys, their states and times')
    .action(async (options: AdminOptions) => {
      const items = await callPages<KeyRow>(options, terminal, '/v1/keys');
      const active_keys = items.filter(({ state }) => state === 'active').length;
      if (options.json) terminal.out(JSON.stringify({ items, total_keys: items.length, active_keys }));
      else for (const line of keyLines(items)) terminal.out(line);
    });
  const additions = {
    rotate: 'replace the signing key: publish a new one, which signs once everybody can know it; prints the timeline',
    add: 'the same as rotate',
  };
  for (const [name, description] of Object.entries(additions)) {
    withAdminOptions(key.command(name))
      .description(description)
      .option('--issuer <name>', 'issuer block; default: the only one with `sign`')
      .action((options: AdminOptions & { readonly issuer?: string }) =>
        change('/v1/keys', { issuer: options.issuer }, options, terminal),
      );
  }
  const verbs = {
    activate: 'let a pending key sign at once',
    retire: 'let a key step down; one that does not sign goes at once',
    ban: 'refuse everything a leaked key signed, everywhere, at once, and replace it',
  };
  for (const [verb, description] of Object.entries(verbs)) {
    withAdminOptions(key.command(verb))
      .description(description)
      .argument('<kid>', 'key id, as `key list` shows it; after -- when it begins with -')
      .action((kid: string, options: AdminOptions) =>
        change(`/v1/keys/${encodeURIComponent(kid)}/${verb}`, undefined, options, terminal),
      );
  }
  key
    .command('publishing')
    .description('make the key pair that documents in Redis are signed with: publish.key and publish.pub')
    .argument('<dir>', 'folder to write them to')
    .action((dir: string) => makePublishingKey(dir, terminal));
}

async function change(path: string, body: unknown, options: AdminOptions, terminal: Terminal): Promise<void> {
  const answer = (await callAdmin(options, terminal, { method: 'POST', path, body })) as Timeline;
  if (options.json) return terminal.out(JSON.stringify(answer));
  for (const line of keyLines(answer.keys)) terminal.out(line);
  if (answer.next_step_at !== null) terminal.out(`next step at ${answer.next_step_at}`);
  if (answer.applied === 'pending') terminal.out('the ban is in force here and reaches the others with Redis');
}

function keyLines(keys: readonly KeyRow[]): string[] {
  return tableLines(keys.map((row) => [row.issuer, row.kid, row.algorithm, row.state, momentOf(row)]));
}

function momentOf(row: KeyRow): string {
  if (row.state === 'pending') return `signs from ${row.signs_from}`;
  if (row.state === 'active') return `signs since ${row.signs_from}`;
  return row.state === 'retiring' ? `until ${row.retires_at}` : `since ${row.ended_at}`;
}

function makePublishingKey(dir: string, terminal: Terminal): void {
  const [secret, open] = [join(dir, 'publish.key'), join(dir, 'publish.pub')];
  if (existsSync(secret) || existsSync(open)) throw new CliError('usage', `${dir} holds a publishing key already`);
  makePrivateFolder(dir);
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  createPrivateFile(secret, privateKey.export({ type: 'pkcs8', format: 'pem' }) as string);
  writeFileSync(open, publicKey.export({ type: 'spki', format: 'pem' }), { mode: 0o644, flag: 'wx' });
  terminal.out(`${secret}: control_plane.signing_key of replicas with postgres (mode 0600)`);
  terminal.out(`${open}: control_plane.public_key of every replica`);
}
