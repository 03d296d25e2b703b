// Real fronts as processes of their own, with the shipped configurations of deploy/fronts in which only addresses are others.
import { readFileSync } from 'node:fs';
import { type Daemon, startDaemon } from './daemon.ts';
import { startNginx } from './nginx.ts';

const folder = new URL('../../deploy/fronts/', import.meta.url);

/** The text of a shipped configuration. */
export function shipped(name: string): string {
  return readFileSync(new URL(name, folder), 'utf8');
}

/** A shipped configuration with other words in the place of some of its own, which must all occur. */
export function recipe(name: string, replaced: Readonly<Record<string, string>>): string {
  let text = shipped(name);
  for (const [from, to] of Object.entries(replaced)) {
    if (!text.includes(from)) throw new Error(`${name} does not hold ${from}`);
    text = text.replaceAll(from, to);
  }
  return text;
}

/** What a front stands before. */
export interface Behind {
  /** Port of Doorward. */
  readonly doorward: number;
  /** Port of the application; only for fronts that ask. */
  readonly application: number;
  /** How long the front keeps idle connections to Doorward, in the place of its own figure. */
  readonly idle?: string;
}

/** A front that a test can start. */
export interface Front {
  readonly name: string;
  /** It forwards by itself and asks Doorward for verdicts. */
  readonly asks: boolean;
  start(behind: Behind): Promise<Daemon>;
}

const doorward = ({ doorward: port }: Behind) => ({ '127.0.0.1:8080': `127.0.0.1:${port}` });
const application = ({ application: port }: Behind) => ({ '127.0.0.1:3000': `127.0.0.1:${port}` });

const nginx = (name: string, asks: boolean): Front => ({
  name: asks ? 'nginx with auth_request' : 'nginx',
  asks,
  start: (behind) =>
    startNginx((listen) =>
      recipe(name, {
        'listen 80': listen,
        ...doorward(behind),
        ...(asks && application(behind)),
        ...(behind.idle && { 'keepalive_timeout 60s': `keepalive_timeout ${behind.idle}` }),
      }),
    ),
});

const haproxy: Front = {
  name: 'HAProxy',
  asks: false,
  start: (behind) =>
    startDaemon({
      command: 'haproxy',
      versionFlag: '-v',
      configure: ({ port, file }) => ({
        text: recipe('haproxy/haproxy.cfg', {
          'bind :80': `bind 127.0.0.1:${port}`,
          ...doorward(behind),
          ...(behind.idle && { 'pool-purge-delay 20s': `pool-purge-delay ${behind.idle}` }),
        }),
        args: ['-db', '-f', file],
      }),
    }),
};

const caddy = (name: string, asks: boolean): Front => ({
  name: asks ? 'Caddy with forward_auth' : 'Caddy',
  asks,
  start: (behind) =>
    startDaemon({
      command: 'caddy',
      versionFlag: 'version',
      configure: ({ port, file }) => ({
        text: `{\n\tadmin off\n}\n${recipe(name, {
          ':80 {': `:${port} {\n\tbind 127.0.0.1`,
          ...doorward(behind),
          ...(asks && application(behind)),
          ...(behind.idle && { 'keepalive 60s': `keepalive ${behind.idle}` }),
        })}`,
        args: ['run', '--adapter', 'caddyfile', '--config', file],
      }),
    }),
});

/** Every front that can be installed here, in each way it works. */
export const fronts: readonly Front[] = [
  nginx('nginx/proxy.conf', false),
  nginx('nginx/auth_request.conf', true),
  haproxy,
  caddy('caddy/proxy.Caddyfile', false),
  caddy('caddy/forward_auth.Caddyfile', true),
];
