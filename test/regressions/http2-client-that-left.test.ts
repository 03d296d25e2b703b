// The sockets of node's HTTP/1.1 server may be half open, and HTTP/2 is spoken on them too: who opened a stream and closed its
// connection, cleanly, was not missed before something was sent to it. On a silent stream that is never, and its slot stayed taken.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { eventually } from '../attacks/world.ts';
import { testAuthority } from '../support/certificates.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar, type TestSidecar } from '../support/sidecar.ts';

const SOON = 20_000;

/** A sidecar before an upstream whose streams say nothing. */
async function startWorld(proxy: object) {
  const upstream = await recordingUpstream((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
  });
  const routes = { all: { match: { prefix: '/' }, auth: 'none' } };
  const sidecar = await startSidecar(upstream.url, { proxy: { http2: true, ...proxy }, routes });
  return {
    sidecar,
    async [Symbol.asyncDispose]() {
      await sidecar[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

async function openStreams({ observeUrl }: TestSidecar): Promise<number> {
  const text = await (await fetch(`${observeUrl}/metrics`)).text();
  return Number(/^doorward_streams_open (\d+)$/m.exec(text)?.[1]);
}

/** Opens a stream on `socket`, ends the connection in the middle of it, and waits until it is not counted any more. */
async function leaveOn(socket: Socket, sidecar: TestSidecar): Promise<void> {
  const session = connectHttp2(sidecar.proxyUrl, { createConnection: () => socket });
  session.on('error', () => {});
  const stream = session.request({ ':path': '/events', ':authority': 'app.test' });
  stream.on('error', () => {});
  await once(stream, 'response');
  await eventually(async () => (await openStreams(sidecar)) === 1, SOON);
  socket.end();
  await eventually(async () => (await openStreams(sidecar)) === 0, SOON);
  session.destroy();
}

test('an HTTP/2 client that closes its connection has left its silent streams', async () => {
  await using at = await startWorld({});
  await leaveOn(connect(at.sidecar.port, '127.0.0.1'), at.sidecar);
  assert.equal(at.sidecar.logged().find(({ event }) => event === 'decision')?.reason, 'client_aborted');
});

test('an HTTP/2 client that closes its connection over TLS has left its silent streams', async () => {
  using authority = testAuthority();
  const pair = authority.issue('app.test', 'DNS:app.test', 'serverAuth');
  const tls = { certificates: [{ certificate: { value: pair.certificate }, key: { value: pair.key } }] };
  await using at = await startWorld({ tls });
  const { port } = at.sidecar;
  const socket = connectTls({
    host: '127.0.0.1',
    port,
    servername: 'app.test',
    ca: authority.certificate,
    ALPNProtocols: ['h2'],
  });
  await once(socket, 'secureConnect');
  await leaveOn(socket, at.sidecar);
});
