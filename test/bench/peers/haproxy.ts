// HAProxy with one thread that checks what it can check: ES256 signature, iss, aud, exp, a rate per address and per client
// in stick-tables, and six identity headers. It keeps no verified tokens and knows no revocations.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../support/free-port.ts';
import { bearer } from '../checks.ts';
import { startChild, untilServing } from '../children.ts';
import type { Peer } from '../peer.ts';
import { audience, issuer } from '../tokens.ts';
import type { World } from '../world.ts';

const LIMIT = 1_000_000_000;
const identity = {
  Subject: 'sub',
  Issuer: 'iss',
  Client: 'client_id',
  Scopes: 'scope',
  Tenant: 'tenant',
  'Token-Id': 'jti',
};

function config(world: World, port: number): string {
  const fields = Object.entries(identity).flatMap(([name, claim]) => [
    `  http-request del-header X-Auth-${name}`,
    `  http-request set-header X-Auth-${name} %[var(txn.bearer),jwt_payload_query('$.${claim}')]`,
  ]);
  return `global
  nbthread 1
  maxconn 2000
defaults
  mode http
  timeout client 300s
  timeout server 60s
  timeout connect 5s
  option http-keep-alive
  http-reuse always
backend address_rates
  stick-table type ip size 100k expire 2m store http_req_rate(1m)
backend client_rates
  stick-table type string len 64 size 100k expire 2m store http_req_rate(1m)
frontend door
  bind 127.0.0.1:${port} backlog 4096
  http-request track-sc0 src table address_rates
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt ${LIMIT} }
  http-request set-var(txn.bearer) http_auth_bearer
  http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
  http-request deny deny_status 401 unless { var(txn.alg) -m str ES256 }
  http-request deny deny_status 401 unless { var(txn.bearer),jwt_verify(txn.alg,"${world.tokens.pemFile}") -m int 1 }
  http-request deny deny_status 401 unless { var(txn.bearer),jwt_payload_query('$.iss') -m str ${issuer} }
  http-request deny deny_status 401 unless { var(txn.bearer),jwt_payload_query('$.aud') -m str ${audience} }
  http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request deny deny_status 401 if { var(txn.exp),sub(txn.now) -m int le 0 }
  http-request set-var(txn.client) var(txn.bearer),jwt_payload_query('$.client_id')
  http-request track-sc1 var(txn.client) table client_rates
  http-request deny deny_status 429 if { sc_http_req_rate(1) gt ${LIMIT} }
${fields.join('\n')}
  http-request del-header Authorization
  default_backend app
backend app
  server app 127.0.0.1:${world.upstreamPort} maxconn 128
`;
}

/** HAProxy with jwt_verify and stick-tables. */
export const haproxy: Peer = {
  name: 'haproxy',
  about: 'jwt_verify ES256, iss, aud, exp, stick-table per address and client; one thread',
  checksTokens: true,
  async start(world) {
    const port = await freePort();
    const file = join(world.dir, 'haproxy.cfg');
    writeFileSync(file, config(world, port));
    const args = ['-db', '-f', file];
    const plan = { name: 'haproxy', dir: world.dir, command: world.tool('haproxy'), args, cores: world.peerCore };
    const child = startChild(plan);
    await untilServing(child, port, '/', bearer(world.tokens.good));
    return { port, pid: child.pid, stop: child.stop };
  },
};
