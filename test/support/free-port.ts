// Ports for servers that tests start, stop and start again. Test files run side by side, and a port is free while its server is down:
// each process takes its ports from a block that is its own as long as it lives.
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';

/** Below those that the system gives to connections and to port 0. */
const FIRST = 20_000;
const BLOCKS = 40;
const BLOCK_PORTS = 300;
/** Who listens on the n-th of these has the n-th block; the system takes it back from a process that is gone. */
const FIRST_CLAIM = FIRST - BLOCKS;

let block: Promise<number> | undefined;
let next = 0;

/** A port that was free a moment ago, and that no other test takes. */
export async function freePort(): Promise<number> {
  block ??= claimBlock();
  const first = await block;
  for (;;) {
    const port = first + (next % BLOCK_PORTS);
    next += 1;
    const server = await listening(port);
    if (server === undefined) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

/** First port of a block that nobody else has. */
async function claimBlock(): Promise<number> {
  for (let at = randomInt(BLOCKS); ; at = (at + 1) % BLOCKS) {
    const claim = await listening(FIRST_CLAIM + at);
    if (claim === undefined) continue;
    claim.unref();
    return FIRST + at * BLOCK_PORTS;
  }
}

/** Undefined when somebody else listens there. */
async function listening(port: number): Promise<Server | undefined> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
    return server;
  } catch {
    return undefined;
  }
}
