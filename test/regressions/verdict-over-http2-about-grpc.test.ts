// A verdict asked for over HTTP/2 about a gRPC request: refusals of gRPC are status 200 with `grpc-status`, which a front that
// asks would read as an allow.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { askHttp2, openHttp2 } from '../support/http2-client.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';

const described = {
  'x-forwarded-method': 'POST',
  'x-forwarded-uri': '/shop.Orders/List',
  'x-forwarded-host': 'app',
  'x-original-method': 'POST',
  'x-original-uri': '/shop.Orders/List',
};

for (const [flavour, path] of [
  ['nginx', '/.doorward/verdict/nginx'],
  ['forward', '/.doorward/verdict/forward'],
  ['envoy', '/.doorward/verdict/envoy/shop.Orders/List'],
] as const) {
  test(`attack 43: the ${flavour} verdict refuses a gRPC request over HTTP/2 with a status that says so`, async () => {
    await using upstream = await recordingUpstream();
    await using sidecar = await startSidecar(upstream.url, {
      proxy: {
        listen: '127.0.0.1:0',
        http2: true,
        trusted_proxies: ['127.0.0.1/32'],
        endpoints: { verdict: true },
      },
    });
    await using session = await openHttp2(sidecar.proxyUrl);
    const fields = {
      ':method': 'POST',
      ':path': path,
      ':authority': 'app',
      'content-type': 'application/grpc',
      te: 'trailers',
    };
    const statusOf = async (more: Record<string, string>) => {
      const answer = await askHttp2(session, { ...fields, ...described, ...more });
      return 'status' in answer ? answer.status : undefined;
    };
    assert.equal(await statusOf({}), 401);
    assert.equal(await statusOf({ authorization: 'Bearer no.such.token' }), 401);
    assert.equal(await statusOf({ authorization: `Bearer ${tokenFor()}` }), 200);
  });
}

test('attack 43: what is no verdict below the reserved prefix is 404 for gRPC too, also with verdicts off', async () => {
  await using upstream = await recordingUpstream();
  const trusting = { listen: '127.0.0.1:0', http2: true, trusted_proxies: ['127.0.0.1/32'] };
  for (const verdict of [true, false]) {
    await using sidecar = await startSidecar(upstream.url, { proxy: { ...trusting, endpoints: { verdict } } });
    await using session = await openHttp2(sidecar.proxyUrl);
    for (const path of [
      '/.doorward/verdict/forward/',
      '/.doorward/verdict/envoy',
      verdict ? '/.doorward' : '/.doorward/verdict/forward',
    ]) {
      const fields = { ':method': 'POST', ':path': path, ':authority': 'app', 'content-type': 'application/grpc' };
      const answer = await askHttp2(session, { ...fields, ...described });
      assert.equal('status' in answer && answer.status, 404, path);
    }
  }
});
