// Slow clients and slow upstreams hold no bodies in memory: 500 at once, on a sidecar of its own, whose resident memory is read.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../attacks/world.ts';

const CLIENTS = 500;
const BODY_BYTES = 10 * 1024 * 1024;
/** Per client: what one read brings, what waits for the socket, and the objects of a request. All bodies would be 5 GB. */
const BOUND_BYTES = CLIENTS * 512 * 1024;
const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;
const chunk = Buffer.alloc(65_536, 'x');

/** Answers /answer with 10 MiB, and never reads what is sent to /upload. */
async function upstreamOf() {
  const seen = { requests: 0 };
  const server = createServer((request, response) => {
    seen.requests += 1;
    if (request.url !== '/answer') return void request.pause();
    response.writeHead(200, { 'content-length': BODY_BYTES });
    let left = BODY_BYTES / chunk.length;
    const more = () => {
      while (left > 0) {
        left -= 1;
        if (!response.write(chunk)) return void response.once('drain', more);
      }
      response.end();
    };
    more();
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return Object.assign(seen, { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

/** The real program; resolves with its proxy port. */
async function startProgram(folder: string, upstreamUrl: string): Promise<{ child: ChildProcess; port: number }> {
  const file = join(folder, 'sidecar.yaml');
  const config = {
    version: 1,
    proxy: { listen: '127.0.0.1:0', max_delay: '0ms', send_timeout: '5m' },
    admin: { listen: 'off' },
    observe: { listen: 'off' },
    // The machine may be slow too: none of them is to be given up before all are there.
    upstreams: { app: { url: upstreamUrl, connections: CLIENTS, connect_timeout: '60s' } },
    defaults: { response_timeout: '5m', idle_timeout: '5m', body_timeout: '5m' },
    issuers: { corp: { issuer: 'https://id.test/', audience: ['api'] } },
    routes: { all: { match: { prefix: '/' }, auth: 'none', body_size: '20MiB' } },
  };
  writeFileSync(file, JSON.stringify(config));
  const child = spawn(process.execPath, [MAIN, 'run', '-c', file], { stdio: ['ignore', 'pipe', 'inherit'] });
  let lines = '';
  child.stdout?.on('data', (text) => {
    lines = (lines + text).slice(-100_000);
  });
  const listening = () => /"proxy":"http:\/\/127\.0\.0\.1:(\d+)"/.exec(lines)?.[1];
  await eventually(() => listening() !== undefined, 60_000);
  return { child, port: Number(listening()) };
}

const residentBytes = ({ pid }: ChildProcess) =>
  1024 * Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

/** Memory at its highest, from when all requests have arrived until three seconds later. */
async function highest(child: ChildProcess, arrived: () => boolean): Promise<number> {
  let most = 0;
  const look = () => {
    most = Math.max(most, residentBytes(child));
    return arrived();
  };
  await eventually(look, 60_000);
  const untilMs = performance.now() + 3000;
  await eventually(() => look() && performance.now() > untilMs, 60_000);
  return most;
}

for (const [what, send] of [
  [
    'clients that do not read their answers of 10 MiB',
    (socket: Socket) => void socket.write('GET /answer HTTP/1.1\r\nHost: a\r\n\r\n'),
  ],
  [
    'uploads of 10 MiB to an upstream that does not read them',
    (socket: Socket) => {
      socket.write(`POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: ${BODY_BYTES}\r\n\r\n`);
      let left = BODY_BYTES / chunk.length;
      const more = () => {
        while (left > 0 && socket.write(chunk)) left -= 1;
        if (left > 0) socket.once('drain', more);
      };
      more();
    },
  ],
] as const) {
  test(`${CLIENTS} ${what} take less than ${BOUND_BYTES / 2 ** 20} MiB`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'doorward-slow-'));
    const upstream = await upstreamOf();
    const { child, port } = await startProgram(folder, upstream.url);
    const sockets: Socket[] = [];
    try {
      const before = residentBytes(child);
      for (let n = 0; n < CLIENTS; n += 1) {
        const socket = connect(port, '127.0.0.1');
        socket.on('error', () => {});
        socket.pause();
        send(socket);
        sockets.push(socket);
      }
      const grown = (await highest(child, () => upstream.requests === CLIENTS)) - before;
      t.diagnostic(`${(grown / 2 ** 20).toFixed(0)} MiB`);
      assert.ok(grown < BOUND_BYTES, `${grown} bytes more`);
    } finally {
      for (const socket of sockets) socket.destroy();
      child.kill('SIGKILL');
      upstream.server.closeAllConnections();
      upstream.server.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
}
