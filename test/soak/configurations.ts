// The files that the soak reloads in turn: two that hold and differ where pools and key sets are made anew, and one that
// does not hold.
import { stringify } from 'yaml';
import type { SidecarInput } from '../../src/config/schema.ts';

/** What the files point at. */
export interface Neighbours {
  readonly upstream: string;
  readonly webSockets: string;
  readonly issuer: string;
  readonly redis: string;
  readonly signingKey: string;
}

/** Requests that one client may send to `/limited` in a second. */
export const LIMITED_PER_SECOND = 5;

/** The files by turn; every third is broken. */
export function configurations(at: Neighbours): readonly [string, string, string] {
  const first = configuration(at, { connections: 64, refresh: '20s', header: 'X-Auth-Client' });
  const second = configuration(at, { connections: 96, refresh: '30s', header: 'X-Auth-App' });
  const { routes: _, ...broken } = first;
  return [stringify(first), stringify(second), stringify({ ...broken, rutes: {} })];
}

function configuration(at: Neighbours, change: { connections: number; refresh: string; header: string }): SidecarInput {
  const every = { limits: ['per_client', 'per_ip'] };
  return {
    version: 1,
    name: 'soak',
    state_dir: 'state',
    proxy: {
      listen: '127.0.0.1:0',
      bad_tokens: '1000000/1m',
      drain: { delay: '100ms', timeout: '5s' },
    },
    admin: { listen: '127.0.0.1:0' },
    observe: { listen: '127.0.0.1:0' },
    upstreams: {
      app: { url: at.upstream, connections: change.connections },
      sockets: { url: at.webSockets, connections: change.connections },
    },
    issuers: {
      self: { issuer: 'http://doorward.localhost', audience: ['api'], sign: { key: { file: at.signingKey } } },
      corp: { issuer: at.issuer, audience: ['api'], keys: { discover: true, refresh: change.refresh, cooldown: '5s' } },
    },
    limits: {
      per_client: { key: 'client', rate: '1000000/1m' },
      per_ip: { key: 'ip', rate: '1000000/1m' },
      limited: { key: 'client', rate: `${LIMITED_PER_SECOND}/1s` },
    },
    defaults: { issuers: ['self', 'corp'], body_size: '64MiB', ...every },
    routes: {
      limited: { match: { prefix: '/limited' }, upstream: 'app', limits: ['limited'] },
      sockets: { match: { prefix: '/ws' }, upstream: 'sockets' },
      all: { match: { prefix: '/' }, upstream: 'app' },
    },
    identity_headers: { 'X-Auth-Subject': 'subject', [change.header]: 'client' },
    redis: { url: { value: at.redis }, timeout: '250ms' },
    log: { decisions: { allow: 0, deny: 0.1 } },
  };
}
