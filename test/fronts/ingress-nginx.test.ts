// ingress-nginx needs a cluster. Its Ingresses are held against Kubernetes' schema, and the question that its controller writes
// into nginx.conf for auth-url is asked by a real nginx: other fields than our own recipe sets, and not all of them set.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { manifestProblems, manifestsIn } from '../deploy/manifests.ts';
import { type Front, shipped } from '../support/fronts.ts';
import { startNginx } from '../support/nginx.ts';
import { tokenFor } from '../support/sidecar.ts';
import { bearer, frontWorld } from './world.ts';

const ingresses = ['proxy', 'auth-url'].flatMap((name) => manifestsIn(shipped(`ingress-nginx/${name}.yaml`)));

test('the Ingresses are what the API server takes', async () => {
  assert.deepEqual(await manifestProblems(ingresses), []);
});

const asking = ingresses[1] as (typeof ingresses)[number];
const { annotations } = asking.metadata as unknown as { annotations: Readonly<Record<string, string>> };
const annotation = (name: string) => annotations[`nginx.ingress.kubernetes.io/${name}`] as string;

/** As the controller (1.x) configures a location with auth-url and auth-response-headers. */
const controller: Front = {
  name: 'ingress-nginx',
  asks: true,
  start: ({ doorward, application }) =>
    startNginx((listen) => {
      const url = annotation('auth-url').replace('doorward.shop.svc.cluster.local:8080', `127.0.0.1:${doorward}`);
      const names = annotation('auth-response-headers').split(',');
      const kept = names.map((name, at) => {
        const variable = `$upstream_http_${name.toLowerCase().replaceAll('-', '_')}`;
        return `auth_request_set $authHeader${at} ${variable}; proxy_set_header '${name}' $authHeader${at};`;
      });
      return `server {
        ${listen};
        location = /_external-auth {
          internal;
          proxy_pass_request_body off;
          proxy_set_header Content-Length "";
          proxy_set_header X-Forwarded-Proto "";
          proxy_set_header X-Request-ID $request_id;
          proxy_set_header Host doorward.shop.svc.cluster.local;
          proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
          proxy_set_header X-Original-Method $request_method;
          proxy_set_header X-Sent-From "nginx-ingress-controller";
          proxy_set_header X-Real-IP $remote_addr;
          proxy_set_header X-Forwarded-For $remote_addr;
          proxy_set_header X-Auth-Request-Redirect $request_uri;
          proxy_http_version 1.1;
          proxy_pass ${url};
        }
        location / {
          auth_request /_external-auth;
          ${kept.join('\n')}
          proxy_set_header Host $http_host;
          proxy_pass http://127.0.0.1:${application};
        }
      }`;
    }),
};

const routes = {
  all: { match: { prefix: '/', hosts: ['shop.test'] } },
  public: { match: { prefix: '/public', hosts: ['shop.test'] }, auth: 'none' },
};

test('the question that ingress-nginx asks is judged by the host, path and method of the client', async () => {
  await using at = await frontWorld(controller, { routes });
  assert.equal((await at.ask('/orders?id=1', { headers: bearer(tokenFor()) })).status, 200);
  assert.equal(at.application.seen[0]?.headers['x-auth-subject'], 'alice');
  assert.equal((await at.ask('/orders')).status, 401);
  assert.equal((await at.ask('/orders', { headers: { host: 'other.test', ...bearer(tokenFor()) } })).status, 403);
  assert.equal((await at.ask('/public')).status, 200);
});

test('attack 36: what ingress-nginx does not set itself opens nothing when a client sends it', async () => {
  await using at = await frontWorld(controller, { routes });
  const fields = {
    'x-original-uri': '/public',
    'x-forwarded-uri': '/public',
    'x-forwarded-host': 'shop.test',
    'x-original-host': 'shop.test',
    'x-auth-subject': 'root',
  };
  for (const [name, value] of Object.entries(fields)) {
    const { status } = await at.ask('/orders', { headers: { [name]: value } });
    assert.ok(status === 401 || status === 403, `${name}: ${status}`);
  }
  assert.equal(at.application.seen.length, 0);
  assert.equal((await at.ask('/public', { headers: { 'x-auth-subject': 'root' } })).status, 200);
  assert.equal(at.application.seen[0]?.headers['x-auth-subject'], undefined);
});
