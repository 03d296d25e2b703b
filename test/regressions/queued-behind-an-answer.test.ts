// The connection whose answer was complete goes to the next request that waits, in the same turn. What its reader was told last, that
// the head may go out, was then told to the next one: its client got a `200 OK` that nobody had said, and never the answer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar } from '../support/sidecar.ts';

const routes = { all: { match: { prefix: '/' }, auth: 'none' } };

test('a request that waited for the connection before it gets the answer of the upstream, and no other', async () => {
  await using upstream = await recordingUpstream((request, response) => {
    const body = `answer to ${request.url}`;
    // Long enough for the others to stand in the queue, and so that its head would have to go out first.
    setTimeout(() => response.writeHead(418, { 'content-length': body.length }).end(body), 50);
  });
  const upstreams = { app: { url: upstream.url, connections: 1, queue: 10, queue_timeout: '30s' } };
  await using sidecar = await startSidecar(upstream.url, { routes, upstreams });
  const paths = ['/a', '/b', '/c', '/d'];
  const answers = paths.map(async (path) => {
    const answer = await fetch(sidecar.proxyUrl + path, { signal: AbortSignal.timeout(20_000) });
    return [answer.status, await answer.text()];
  });
  assert.deepEqual(
    await Promise.all(answers),
    paths.map((path) => [418, `answer to ${path}`]),
  );
});

test('a request that waited behind an answer without a body gets its own', async () => {
  await using upstream = await recordingUpstream((_request, response) => {
    setTimeout(() => response.writeHead(304).end(), 50);
  });
  const upstreams = { app: { url: upstream.url, connections: 1, queue: 10, queue_timeout: '30s' } };
  await using sidecar = await startSidecar(upstream.url, { routes, upstreams });
  const ask = async () => (await fetch(sidecar.proxyUrl, { signal: AbortSignal.timeout(20_000) })).status;
  assert.deepEqual(await Promise.all([ask(), ask(), ask()]), [304, 304, 304]);
});
