// Traces as a collector gets them and an application is told of them: which spans a request has and what stands in them, whose
// trace context is believed, and that a collector that fails is felt by nobody.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, connect } from 'node:net';
import { describe, test } from 'node:test';
import { askHttp2, openHttp2 } from '../support/http2-client.ts';
import { otlpReceiver, waitFor } from '../support/otlp-receiver.ts';
import { startRedis } from '../support/redis-server.ts';
import { configFor, tokenFor } from '../support/sidecar.ts';
import { kinds, traced } from './traced.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = '00f067aa0ba902b7';
const SENT = `traceparent: 00-${TRACE}-${PARENT}-01`;
const NOT_SAMPLED = `traceparent: 00-${TRACE}-${PARENT}-00`;
const OWN = /^00-(?!4bf92f)([0-9a-f]{32})-([0-9a-f]{16})-0([01])$/;

/** What came in, and whether it counted: continued, and recorded. */
const believing = [
  { believe: undefined, trusted: true, sent: SENT, ratio: 0, continued: true, recorded: true },
  { believe: undefined, trusted: true, sent: NOT_SAMPLED, ratio: 1, continued: true, recorded: false },
  { believe: undefined, trusted: false, sent: SENT, ratio: 0, continued: false, recorded: false },
  { believe: undefined, trusted: false, sent: NOT_SAMPLED, ratio: 1, continued: false, recorded: true },
  { believe: 'nobody', trusted: true, sent: SENT, ratio: 0, continued: false, recorded: false },
  { believe: 'nobody', trusted: true, sent: NOT_SAMPLED, ratio: 1, continued: false, recorded: true },
  { believe: 'everyone_ids', trusted: false, sent: SENT, ratio: 0, continued: true, recorded: false },
  { believe: 'everyone_ids', trusted: false, sent: NOT_SAMPLED, ratio: 1, continued: true, recorded: true },
  { believe: 'everyone_ids', trusted: true, sent: SENT, ratio: 0, continued: true, recorded: true },
  { believe: 'everyone', trusted: false, sent: SENT, ratio: 0, continued: true, recorded: true },
  { believe: 'everyone', trusted: false, sent: NOT_SAMPLED, ratio: 1, continued: true, recorded: false },
] as const;

const malformed: readonly (readonly [string, readonly string[]])[] = [
  ['all zero', [`traceparent: 00-${'0'.repeat(32)}-${PARENT}-01`]],
  ['a span of zeros', [`traceparent: 00-${TRACE}-${'0'.repeat(16)}-01`]],
  ['capitals', [`traceparent: 00-${TRACE.toUpperCase()}-${PARENT}-01`]],
  ['version ff', [`traceparent: ff-${TRACE}-${PARENT}-01`]],
  ['too long', [`traceparent: 00-${TRACE}-${PARENT}-01-${'x'.repeat(4000)}`]],
  ['given twice', [SENT, SENT]],
  ['empty', ['traceparent:']],
];

// Most of their time is waiting for a message to be filled.
describe('traces', { concurrency: 8 }, () => {
  test('an allowed request has a server span with verify, check and upstream below it', async () => {
    await using redis = await startRedis('--maxmemory-policy', 'noeviction');
    await using at = await traced({ config: { redis: { url: { value: redis.url }, timeout: '2s' } } });
    const answer = await at.get('/items/7?access=word');
    assert.equal(answer.status, 200);
    const { server, verify, check, upstream } = await at.spansOf(answer);
    assert.ok(server && verify && check && upstream);
    const [id] = at.app.seen.at(-1)?.headers['x-request-id'] ?? [];
    assert.equal(server.parentSpanId, undefined);
    assert.deepEqual([server.name, server.kind, server.failed], ['GET /items/{id}', kinds.server, false]);
    assert.deepEqual(server.attributes, {
      'http.route': '/items/{id}',
      'url.scheme': 'http',
      'url.path': '/items/7',
      'server.address': 'app.test',
      'network.protocol.version': '1.1',
      'http.request.method': 'GET',
      'http.response.status_code': 200,
      'doorward.request_id': id,
      'doorward.route': 'item',
      'doorward.outcome': 'allow',
      'doorward.reason': 'ok',
      'doorward.stage': 'forward',
    });
    assert.deepEqual([verify.kind, verify.attributes], [kinds.internal, { 'doorward.token.cached': false }]);
    assert.deepEqual([check.kind, check.attributes], [kinds.internal, {}]);
    const port = Number(new URL(at.app.url).port);
    assert.deepEqual([upstream.name, upstream.kind, upstream.failed], ['GET', kinds.client, false]);
    assert.deepEqual(upstream.attributes, {
      'http.request.method': 'GET',
      'http.response.status_code': 200,
      'doorward.upstream': 'app',
      'server.address': '127.0.0.1',
      'server.port': port,
      'url.full': `${at.app.url}/items/7`,
    });
    assert.ok(server.startNano <= verify.startNano && verify.endNano === check.startNano);
    assert.ok(check.endNano <= upstream.startNano && upstream.endNano === server.endNano);
    const [head] = upstream.events;
    assert.ok(head?.name === 'response_head' && head.nano >= upstream.startNano && head.nano <= upstream.endNano);
    assert.deepEqual(at.app.seen.at(-1)?.headers.traceparent, [`00-${server.traceId}-${upstream.spanId}-01`]);
    const logged = at.sidecar.logged().find(({ request_id }) => request_id === id);
    assert.equal(logged?.trace_id, server.traceId);
  });

  test('a token that was verified before says so', async () => {
    await using at = await traced();
    await at.get('/one');
    const { verify } = await at.spansOf(await at.get('/two'));
    assert.deepEqual(verify?.attributes, { 'doorward.token.cached': true });
  });

  test('a route without authentication and limits has neither verify nor check', async () => {
    await using at = await traced();
    const answer = await at.ask('/open');
    assert.deepEqual(Object.keys(await at.spansOf(answer)).sort(), ['server', 'upstream']);
  });

  test('a refused token ends in verify, and nothing went upstream', async () => {
    await using at = await traced();
    const answer = await at.ask('/x', `Authorization: Bearer ${tokenFor({ aud: 'else' })}`);
    assert.equal(answer.status, 401);
    const { server, verify, ...rest } = await at.spansOf(answer);
    assert.deepEqual(rest, {});
    assert.equal(verify?.attributes['doorward.reason'], 'token_audience_mismatch');
    const { attributes } = server!;
    assert.deepEqual(
      [attributes['doorward.outcome'], attributes['doorward.reason'], attributes['http.response.status_code']],
      ['deny', 'token_audience_mismatch', 401],
    );
    assert.equal(server?.failed, false);
    assert.equal(at.app.seen.length, 0);
  });

  test('a request over its limit ends in check, with the limit', async () => {
    await using at = await traced();
    await at.get('/limited');
    const answer = await at.get('/limited');
    assert.equal(answer.status, 429);
    const { server, check, upstream } = await at.spansOf(answer);
    assert.equal(upstream, undefined);
    assert.equal(check?.attributes['doorward.reason'], 'rate_limited');
    assert.deepEqual(server?.attributes['doorward.limits'], ['few']);
    assert.equal(server?.attributes['doorward.stage'], 'check');
  });

  test('a token without the scope has passed verify and check', async () => {
    await using at = await traced();
    const answer = await at.get('/scoped');
    assert.equal(answer.status, 403);
    const { server, verify, check, upstream } = await at.spansOf(answer);
    assert.ok(verify && check && upstream === undefined);
    assert.equal(server?.attributes['doorward.reason'], 'scope_insufficient');
    assert.equal(check.attributes['doorward.reason'], undefined);
  });

  test('a broken request and one without a route have a server span alone', async () => {
    await using at = await traced({ config: { routes: { only: { match: { path: '/only' } } } } });
    const { server: broken, ...below } = await at.spansOf(await at.ask('/a/../b?word'));
    assert.deepEqual(below, {});
    assert.deepEqual([broken?.name, broken?.attributes['doorward.reason']], ['GET', 'path_malformed']);
    assert.equal(broken?.attributes['url.path'], undefined);
    const { server: unknown } = await at.spansOf(await at.get('/elsewhere'));
    assert.deepEqual([unknown?.name, unknown?.attributes['doorward.reason']], ['GET', 'route_not_found']);
  });

  test('an application that does not answer in time fails the upstream span and the server span', async () => {
    await using at = await traced();
    const answer = await at.get('/slow');
    assert.equal(answer.status, 504);
    const { server, upstream } = await at.spansOf(answer);
    assert.deepEqual([server?.failed, server?.attributes['error.type']], [true, 'upstream_timeout']);
    assert.deepEqual([upstream?.failed, upstream?.attributes['error.type']], [true, 'upstream_timeout']);
    assert.equal(upstream?.attributes['http.response.status_code'], undefined);
  });

  test('an error of the application is one of both spans', async () => {
    await using at = await traced();
    const { server, upstream } = await at.spansOf(await at.get('/broken'));
    assert.deepEqual([server?.failed, server?.attributes['doorward.outcome']], [true, 'allow']);
    assert.deepEqual([upstream?.failed, upstream?.attributes['error.type']], [true, '500']);
  });

  test('an answer that breaks off is an error in spite of its status', async () => {
    await using at = await traced();
    const { text } = await new Promise<{ text: string }>((resolve) => {
      const socket = connect(at.sidecar.port, '127.0.0.1');
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk;
        // Not before the head is here: what is cut earlier is answered 502.
        at.app.cut();
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve({ text }));
      socket.write(`GET /cut HTTP/1.1\r\nHost: app.test\r\nAuthorization: Bearer ${at.token}\r\n\r\n`);
    });
    assert.match(text, /^HTTP\/1.1 200/);
    const [server] = (await at.collector.received(4)).filter(({ kind }) => kind === kinds.server);
    assert.equal(server?.failed, true);
    assert.equal(server?.attributes['http.response.status_code'], 200);
    assert.equal(server?.attributes['doorward.outcome'], 'deny');
  });

  test('a request that reached another endpoint at the second attempt says so', async () => {
    await using app = await traced({ tracing: null });
    const urls = ['http://127.0.0.1:1', app.app.url];
    await using at = await traced({
      config: { upstreams: { app: { url: urls } }, routes: { all: { match: { prefix: '/' }, auth: 'none' } } },
    });
    for (let count = 0; count < 2; count += 1) assert.equal((await at.ask('/x')).status, 200);
    await at.collector.received(4);
    const again = at.collector.spans.filter(({ attributes }) => attributes['http.request.resend_count'] !== undefined);
    assert.deepEqual(
      again.map(({ attributes }) => attributes['http.request.resend_count']),
      [1],
    );
    assert.equal(again[0]?.attributes['server.port'], Number(new URL(app.app.url).port));
  });

  test('shadow mode: allowed, with the reason that would have refused', async () => {
    const routes = { all: { match: { prefix: '/' }, mode: 'shadow' } };
    await using at = await traced({ config: { routes } });
    const { server } = await at.spansOf(await at.ask('/x'));
    const { attributes } = server!;
    assert.deepEqual(
      [attributes['doorward.outcome'], attributes['doorward.shadow'], attributes['doorward.reason']],
      ['allow', true, 'credential_missing'],
    );
  });

  test('a WebSocket is traced until it is open, and its handshake carries the context', async () => {
    await using at = await traced();
    const fields = ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13'];
    fields.push('Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', `Authorization: Bearer ${at.token}`);
    const socket = connect(at.sidecar.port, '127.0.0.1');
    socket.write(`GET /ws HTTP/1.1\r\nHost: app.test\r\n${fields.join('\r\n')}\r\n\r\n`);
    const [answer] = await once(socket, 'data');
    assert.match(String(answer), /^HTTP\/1.1 101 /);
    await at.collector.received(4);
    const upstream = at.collector.spans.find(({ kind }) => kind === kinds.client);
    assert.equal(upstream?.attributes['http.response.status_code'], 101);
    socket.destroy();
    assert.deepEqual(at.app.seen.at(-1)?.headers.traceparent, [`00-${upstream?.traceId}-${upstream?.spanId}-01`]);
  });

  test('a verdict is a request of the trace that the front tells of', async () => {
    await using at = await traced({ trusted: true, config: { proxy: { endpoints: { verdict: true } } } });
    const described = ['X-Original-URI: /items/7', 'X-Original-Method: GET'];
    const answer = await at.get('/.doorward/verdict/nginx', ...described, SENT);
    assert.equal(answer.status, 200);
    const { server, verify, check, upstream } = await at.spansOf(answer);
    assert.ok(verify && check && upstream === undefined);
    assert.deepEqual([server?.traceId, server?.parentSpanId, server?.name], [TRACE, PARENT, 'GET /items/{id}']);
  });

  test('over HTTP/2, from the client and to the application', async () => {
    const told: unknown[] = [];
    const app = createServer();
    app.on('stream', (stream: ServerHttp2Stream, headers) => {
      told.push(headers.traceparent);
      stream.respond({ ':status': 200 });
      stream.end();
    });
    app.listen(0, '127.0.0.1');
    await once(app, 'listening');
    const url = `http://127.0.0.1:${(app.address() as AddressInfo).port}`;
    await using at = await traced({
      trusted: true,
      config: { proxy: { http2: true }, upstreams: { app: { url, protocol: 'http2' } } },
    });
    await using session = await openHttp2(at.sidecar.proxyUrl);
    const traceparent = `00-${TRACE}-${PARENT}-01`;
    const answer = await askHttp2(session, { ':path': '/open', ':authority': 'app.test', traceparent });
    assert.equal('status' in answer && answer.status, 200);
    await at.collector.received(2);
    const [server, upstream] = at.collector.spans;
    assert.deepEqual([server?.traceId, server?.parentSpanId], [TRACE, PARENT]);
    assert.equal(server?.attributes['network.protocol.version'], '2');
    assert.deepEqual(told, [`00-${TRACE}-${upstream?.spanId}-01`]);
    app.close();
  });

  test('ratio 0: no spans, and the application is told of a trace that nobody records', async () => {
    await using at = await traced({ tracing: { ratio: 0 } });
    await at.get('/x');
    const [told] = at.app.seen.at(-1)?.headers.traceparent ?? [];
    const [, traceId, , sampled] = OWN.exec(told ?? '') ?? [];
    assert.equal(sampled, '0');
    const decision = () => at.sidecar.logged().find(({ event }) => event === 'decision');
    await waitFor(() => decision() !== undefined, 'the decision record');
    assert.equal(decision()?.trace_id, traceId);
    await at.sidecar.drain();
    assert.equal(at.collector.messages.length, 0);
  });

  test('ratio: about that share of requests is traced, each whole or not at all', async () => {
    await using at = await traced({ tracing: { ratio: 0.5, queue: 10_000 } });
    await at.askMany('/open', 200);
    const flags = at.app.seen.map(({ headers }) => headers.traceparent?.[0]?.at(-1));
    const share = flags.filter((flag) => flag === '1').length;
    // Ten standard deviations are 70.
    assert.ok(share > 30 && share < 170, `${share}`);
    await at.sidecar.drain();
    assert.equal(at.collector.spans.length, 2 * share);
  });

  for (const { believe, trusted, sent, ratio, continued, recorded } of believing) {
    const whose = `${trusted ? 'a trusted proxy' : 'a client'} says ${sent.slice(-2)}`;
    test(`believe ${believe ?? 'by default'}, ratio ${ratio}, ${whose}: ${continued ? 'continued' : 'begun anew'}, ${recorded ? '' : 'not '}recorded`, async () => {
      await using at = await traced({ trusted, tracing: { ratio, ...(believe && { believe }) } });
      await at.ask('/open', sent, 'tracestate: one=1', 'tracestate: two=2');
      const { traceparent: [told = ''] = [], tracestate } = at.app.seen.at(-1)?.headers ?? {};
      await at.sidecar.drain();
      const [server, upstream] = at.collector.spans;
      assert.equal(at.collector.spans.length, recorded ? 2 : 0);
      if (!continued) assert.match(told, OWN);
      const traceId = continued ? TRACE : OWN.exec(told)?.[1];
      const spanId = upstream?.spanId ?? (continued ? PARENT : OWN.exec(told)?.[2]);
      assert.equal(told, `00-${traceId}-${spanId}-${recorded ? '01' : '00'}`);
      assert.deepEqual(tracestate, continued ? ['one=1,two=2'] : undefined);
      assert.equal(server?.parentSpanId, recorded && continued ? PARENT : undefined);
      assert.equal(server?.traceState, recorded && continued ? 'one=1,two=2' : undefined);
    });
  }

  for (const [what, fields] of malformed) {
    test(`a traceparent that is ${what} begins anew, and its tracestate is gone`, async () => {
      await using at = await traced({ trusted: true, tracing: { ratio: 0 } });
      await at.ask('/open', ...fields, 'tracestate: one=1');
      const { traceparent = [], tracestate } = at.app.seen.at(-1)?.headers ?? {};
      assert.equal(traceparent.length, 1);
      assert.match(traceparent[0] ?? '', OWN);
      assert.equal(tracestate, undefined);
    });
  }

  test('without tracing the fields pass as they came, and the log names the trace of a trusted proxy only', async () => {
    for (const trusted of [true, false]) {
      await using at = await traced({ tracing: null, trusted });
      const sent = ['x', `cc-${TRACE}-${PARENT}-01-more`, `00-${TRACE}-${PARENT}-01`];
      for (const value of sent) await at.ask('/open', `traceparent: ${value}`, 'tracestate: FOO', 'tracestate: bar=1');
      assert.deepEqual(
        at.app.seen.map(({ headers }) => headers.traceparent),
        sent.map((value) => [value]),
      );
      assert.deepEqual(at.app.seen[0]?.headers.tracestate, ['FOO', 'bar=1']);
      const decisions = at.sidecar.logged().filter(({ event }) => event === 'decision');
      assert.deepEqual(
        decisions.map(({ trace_id }) => trace_id),
        trusted ? [undefined, TRACE, TRACE] : [undefined, undefined, undefined],
      );
      assert.equal(at.collector.messages.length, 0);
    }
  });

  test('explain shows the field that the application would be told, and records nothing', async () => {
    await using at = await traced();
    const response = await fetch(`${at.sidecar.adminUrl}/v1/explain`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${readFileSync(at.sidecar.adminTokenFile, 'utf8').trim()}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ method: 'GET', url: '/open' }),
    });
    const text = await response.text();
    assert.equal(response.status, 200, text);
    assert.match(text, /"traceparent"[^0-9]*00-[0-9a-f]{32}-[0-9a-f]{16}-00/);
    await at.sidecar.drain();
    assert.equal(at.collector.messages.length, 0);
  });

  for (const [what, answerOf] of [
    ['is silent', () => 'silence' as const],
    ['answers 503', () => ({ status: 503 })],
    ['answers 429 for an hour', () => ({ status: 429, fields: { 'retry-after': '3600' } })],
  ] as const) {
    test(`a collector that ${what} is felt by no request; spans over the queue are counted`, async () => {
      await using at = await traced({ tracing: { queue: 64 } });
      at.collector.answer = answerOf;
      assert.deepEqual(new Set(await at.askMany('/open', 100)), new Set([200]));
      const metrics = await (await fetch(`${at.sidecar.observeUrl}/metrics`)).text();
      const dropped = Number(/doorward_trace_spans_total\{outcome="queue_full"\} (\d+)/.exec(metrics)?.[1]);
      // 64 wait, and what the first message took is under way.
      assert.ok(dropped >= 200 - 2 * 64 && dropped <= 200, `${dropped}`);
      assert.equal(at.collector.spans.length, 0);
    });
  }

  test('a collector that is away is said once in the log, and counted', async () => {
    await using at = await traced({ tracing: { endpoint: 'http://127.0.0.1:1' } });
    await at.ask('/open');
    const troubles = () => at.sidecar.logged().filter(({ event }) => event === 'traces_not_delivered');
    await waitFor(() => troubles().length > 0, 'the line in the log');
    assert.deepEqual(
      troubles().map(({ why, level }) => [why, level]),
      [['cannot be reached', 'warn']],
    );
    const metrics = await (await fetch(`${at.sidecar.observeUrl}/metrics`)).text();
    assert.match(metrics, /^doorward_trace_spans_total\{outcome="undelivered"\} 2$/m);
  });

  test('spans that wait are sent when the sidecar drains', async () => {
    await using at = await traced();
    await at.askMany('/open', 10);
    assert.equal(await at.sidecar.drain(), true);
    assert.equal(at.collector.spans.length, 20);
  });

  test('a drain with a collector that is silent comes to its end', async () => {
    await using at = await traced();
    at.collector.answer = () => 'silence';
    await at.ask('/open');
    assert.equal(await at.sidecar.drain(), true);
  });

  test('a reload turns traces on, sends them elsewhere with other headers, and turns them off', async () => {
    await using at = await traced({ tracing: null });
    await using other = await otlpReceiver();
    const reload = async (tracing: object | undefined) => {
      const routes = { open: { match: { prefix: '/' }, auth: 'none' } };
      at.sidecar.writeConfig(configFor(at.app.url, { routes, ...(tracing && { tracing }) }));
      const outcome = await at.sidecar.reload();
      assert.deepEqual(outcome.ok && outcome.restartNeeded, []);
    };
    await at.ask('/open');
    await reload({ endpoint: at.collector.url, ratio: 1, service: 'shop', attributes: { zone: 'a' } });
    await at.ask('/open');
    await at.collector.received(2);
    const { 'service.instance.id': instance, 'service.version': release, ...resource } = at.collector.resource;
    assert.deepEqual(resource, { 'service.name': 'shop', zone: 'a' });
    assert.match(String(instance), /^[\w-]{22}$/);
    assert.match(String(release), /^\d+\.\d+\.\d+/);
    await reload({ endpoint: `${other.url}/otlp`, ratio: 1, headers: { Authorization: { value: 'Bearer word' } } });
    await at.ask('/open');
    await other.received(2);
    const [message] = other.messages;
    assert.deepEqual([message?.path, message?.headers.authorization], ['POST /otlp', 'Bearer word']);
    await reload(undefined);
    await at.ask('/open', SENT);
    assert.deepEqual(at.app.seen.at(-1)?.headers.traceparent, [SENT.slice('traceparent: '.length)]);
    assert.deepEqual([at.collector.spans.length, other.spans.length], [2, 2]);
  });
});
