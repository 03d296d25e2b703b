// A real PgBouncer in transaction mode before a test server: connections of clients share few connections of the server.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { unprivilegedAccount } from '../../src/stores/postgres/embedded.ts';
import type { PrivateServer } from '../../src/stores/postgres/private-server.ts';
import { ensureCommand } from './system-packages.ts';

/** A running PgBouncer. */
export interface PgBouncer extends AsyncDisposable {
  /** The URL of `database` through it. */
  url(database: string): string;
}

/** Starts one with `connections` to the server, each lent out for one transaction at a time. */
export async function startPgBouncer(server: PrivateServer, connections: number): Promise<PgBouncer> {
  ensureCommand('pgbouncer', '--version');
  const folder = mkdtempSync('/tmp/doorward-pgb-');
  const account = unprivilegedAccount();
  const { username, password } = new URL(server.url);
  const settings = [
    '[databases]',
    `* = host=${server.folder} port=5432`,
    '[pgbouncer]',
    'listen_addr =',
    'listen_port = 6432',
    `unix_socket_dir = ${folder}`,
    'auth_type = plain',
    `auth_file = ${join(folder, 'users.txt')}`,
    'pool_mode = transaction',
    `default_pool_size = ${connections}`,
    'server_reset_query =',
  ];
  writeFileSync(join(folder, 'pgbouncer.ini'), settings.join('\n'));
  writeFileSync(join(folder, 'users.txt'), `"${username}" "${password}"\n`);
  if (account)
    for (const path of ['', 'pgbouncer.ini', 'users.txt']) chownSync(join(folder, path), account.uid, account.gid);
  const child = spawn('pgbouncer', ['-q', join(folder, 'pgbouncer.ini')], { stdio: 'ignore', cwd: '/', ...account });
  for (let attempt = 0; !existsSync(join(folder, '.s.PGSQL.6432')); attempt += 1) {
    if (attempt > 200 || child.exitCode !== null) throw new Error('pgbouncer did not start');
    await sleep(25);
  }
  return {
    url: (database) =>
      `postgres://${username}:${password}@localhost:6432/${database}?host=${encodeURIComponent(folder)}`,
    async [Symbol.asyncDispose]() {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
