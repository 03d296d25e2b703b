// Open streams of several worker processes: what ends them on one process ends them on all, wherever the kernel put their
// connections, also while Redis is away; and a drain closes what is left with the code that says so.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closeFrameAt, open, open101, streamUpstream } from '../attacks/streams.ts';
import { bearer, head } from '../attacks/world.ts';
import { tokenFor } from '../support/sidecar.ts';
import { eventually, type Several, several } from './several.ts';

/** So many that the kernel leaves none of two processes without any. */
const EACH = 16;

type Client = ReturnType<typeof open>;

const closed = (clients: readonly Client[]) => clients.filter((client) => client.closed).length;

/** Opens them all; both processes have some. */
async function openAll(it: Several, sub: string) {
  const port = Number(new URL(it.proxy).port);
  const token = tokenFor({ sub });
  const before = it.logged().length;
  const sockets: Client[] = await Promise.all(Array.from({ length: EACH }, () => open101(port, token)));
  const events = Array.from({ length: EACH }, () => open(port, head('GET /events', [bearer(token)])));
  await eventually(() => events.every((client) => client.text().includes('text/event-stream')), 'all streams are open');
  // The decision about an event stream is logged when it ends.
  const decided = () =>
    it
      .logged()
      .slice(before)
      .filter(({ status }) => Number(status) === 101);
  await eventually(() => decided().length === EACH, 'the decisions about WebSockets are in the log');
  assert.equal(new Set(decided().map(({ worker }) => Number(worker))).size, 2, 'both processes have some');
  return { sockets, events, all: [...sockets, ...events] };
}

async function revoke(it: Several, id: string): Promise<string> {
  const { status, json } = await it.admin('POST', '/v1/revocations', {
    kind: 'subject',
    issuer: 'test',
    id,
    reason: 'test',
  });
  assert.equal(status, 201);
  return String(json.applied);
}

async function endAsRevoked(mine: Awaited<ReturnType<typeof openAll>>): Promise<void> {
  await eventually(() => closed(mine.all) === mine.all.length, 'all streams of the revoked have ended');
  for (const socket of mine.sockets) assert.equal(closeFrameAt(socket.after()), 1008);
  for (const stream of mine.events) assert.ok(!stream.text().includes('\r\n0\r\n\r\n'), 'cut, not ended as if whole');
}

test('attack 52: a revocation ends what is open in every process, with and without Redis; a drain closes the rest with 1001', async () => {
  await using upstream = await streamUpstream();
  await using it = await several({ upstreams: { app: { url: upstream.url } } });
  const first = await openAll(it, 'mallory');
  const second = await openAll(it, 'trudy');
  const rest = await openAll(it, 'alice');

  assert.equal(await revoke(it, 'mallory'), 'all');
  await endAsRevoked(first);
  assert.equal(closed([...second.all, ...rest.all]), 0);

  await it.redis.stop();
  await eventually(async () => String((await it.ready()).json.status) === 'degraded', 'Redis is known to be away');
  assert.equal(await revoke(it, 'trudy'), 'pending');
  await endAsRevoked(second);
  assert.equal(closed(rest.all), 0);

  it.program.signal('SIGTERM');
  await eventually(() => closed(rest.all) === rest.all.length, 'the drain ends the others');
  for (const socket of rest.sockets) assert.equal(closeFrameAt(socket.after()), 1001);
  assert.deepEqual(await it.program.ended.then(({ code, err }) => [code, err]), [0, '']);
});
