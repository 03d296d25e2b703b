// nginx as a plain proxy with upstream keep-alive, one process: what moving the bytes costs in C, with no checks.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../support/free-port.ts';
import { startChild, untilServing } from '../children.ts';
import type { Peer } from '../peer.ts';

const config = (port: number, upstreamPort: number) => `daemon off; master_process off; pid nginx.pid; error_log stderr;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 300s;
  upstream app { server 127.0.0.1:${upstreamPort}; keepalive 128; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
    }
  }
}
`;

/** nginx, plain. */
export const nginx: Peer = {
  name: 'nginx',
  about: 'plain proxy, one process, no checks',
  checksTokens: false,
  async start(world) {
    const port = await freePort();
    const file = join(world.dir, 'nginx.conf');
    writeFileSync(file, config(port, world.upstreamPort));
    const args = ['-p', `${world.dir}/`, '-c', file];
    const plan = { name: 'nginx', dir: world.dir, command: world.tool('nginx'), args, cores: world.peerCore };
    const child = startChild(plan);
    await untilServing(child, port, '/');
    return { port, pid: child.pid, stop: child.stop };
  },
};
