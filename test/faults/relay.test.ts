// The relay that fault tests rest on does what it says.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { startRelay } from '../support/relay.ts';

/** An echo server, a relay before it, and one client with what it received. */
async function world() {
  const sockets = new Set<Socket>();
  const echo = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(echo, 'listening');
  const relay = await startRelay({ port: (echo.address() as AddressInfo).port, host: '127.0.0.1' });
  const client = connect(relay.port, '127.0.0.1');
  const closed = new Promise<'clean' | 'reset'>((resolve) => {
    client.on('error', () => resolve('reset')).on('end', () => resolve('clean'));
  });
  let text = '';
  client.on('data', (chunk) => {
    text += chunk;
  });
  await once(client, 'connect');
  return {
    relay,
    client,
    closed,
    text: () => text,
    async receives(wanted: string) {
      while (text !== wanted) await once(client, 'data');
    },
    async [Symbol.asyncDispose]() {
      client.destroy();
      await relay[Symbol.asyncDispose]();
      for (const socket of sockets) socket.destroy();
      echo.close();
    },
  };
}

test('a relay forwards both ways, and a stall holds back what heal delivers in order', async () => {
  await using it = await world();
  it.client.write('one ');
  await it.receives('one ');
  it.relay.stall('down');
  it.client.write('two ');
  const before = it.relay.forwarded.up;
  while (it.relay.forwarded.up === before) await new Promise(setImmediate);
  it.client.write('three');
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(it.text(), 'one ');
  it.relay.heal();
  await it.receives('one two three');
});

test('a relay delays in order', async () => {
  await using it = await world();
  it.relay.delay(40);
  const began = performance.now();
  it.client.write('one ');
  it.client.write('two');
  await it.receives('one two');
  assert.ok(performance.now() - began >= 79);
});

test('a relay truncates after so many bytes and ends the connection', async () => {
  await using it = await world();
  it.relay.truncate(3, 'down');
  it.client.write('abcdef');
  assert.equal(await it.closed, 'clean');
  assert.equal(it.text(), 'abc');
});

test('a relay resets open connections and refuses new ones', async () => {
  await using it = await world();
  it.relay.refuse();
  it.relay.reset();
  assert.equal(await it.closed, 'reset');
  const next = connect(it.relay.port, '127.0.0.1');
  const [error] = await once(next, 'error').catch((thrown) => [thrown]);
  assert.equal((error as NodeJS.ErrnoException).code, 'ECONNRESET');
});

test('a relay crumbles: what was sent arrives whole and in order, in many pieces', async () => {
  await using it = await world();
  const long = 'abcdefghij'.repeat(100);
  let pieces = 0;
  it.client.on('data', () => {
    pieces += 1;
  });
  it.relay.crumble('down');
  it.client.write(long);
  await it.receives(long);
  assert.ok(pieces > 1);
});

for (const [how, arrives] of [
  ['repeat', 'abcdabcd'],
  ['swap', 'cdab'],
] as const) {
  test(`a relay mangles (${how}), and healing it ends the connections that suffered it`, async () => {
    await using it = await world();
    it.relay.mangle(how, 'down');
    it.client.write('abcd');
    await it.receives(arrives);
    it.relay.heal();
    assert.equal(await it.closed, 'reset');
  });
}
