// What shedding does for those who are served: an application that can do 32 requests at a time of 20 ms each, so 1,600 a
// second, and callers who do not wait for one another. `node test/bench/overload.ts [--program FILE] [--seconds N]`. Latencies
// count from when a request was due. Decides nothing by time.
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { SidecarInput } from '../../src/config/schema.ts';
import { beAlone } from './alone.ts';
import { interrupt, runToEnd } from './children.ts';
import { startDoorward } from './peers/doorward.ts';
import type { SteadyPlan, SteadyResult } from './steady-load.ts';
import { benchDir } from './tools.ts';
import { makeWorld, type World } from './world.ts';

const AT_ONCE = 32;
const TAKES_MS = 20;
const CAPACITY = (AT_ONCE * 1000) / TAKES_MS;
const CONNECTIONS = 3000;

/** The application: what it cannot do at once waits in it, without a bound. */
async function application() {
  const waiting: ServerResponse[] = [];
  let busy = 0;
  const work = () => {
    for (; busy < AT_ONCE && waiting.length > 0; busy += 1) {
      const response = waiting.shift() as ServerResponse;
      setTimeout(() => {
        response.end('{"done":true}');
        busy -= 1;
        work();
      }, TAKES_MS);
    }
  };
  const server = createServer((_request, response) => {
    waiting.push(response);
    work();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

const settings: readonly (readonly [string, Partial<NonNullable<SidecarInput['upstreams']>[string]>])[] = [
  ['everything may wait', { connections: 4096, queue: 4096 }],
  ['as shipped', {}],
  ['`connections: 32`, `queue: 32`', { connections: 32, queue: 32 }],
];

async function served(world: World, port: number, rate: number, seconds: number): Promise<SteadyResult> {
  const plan: SteadyPlan = { port, rate, seconds, connections: CONNECTIONS, tokenFile: world.tokens.file };
  const args = [join(benchDir, 'steady-load.ts'), JSON.stringify(plan)];
  return JSON.parse(await runToEnd(process.execPath, args, world.loadCores, (seconds + 20) * 1000)) as SteadyResult;
}

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '6' }, program: { type: 'string', default: 'src/main.ts' } },
});
const seconds = Number(values.seconds);
if (!(seconds > 0 && seconds <= 60)) throw new Error('--seconds needs a number up to 60');
await beAlone();
process.once('SIGINT', interrupt);
await using ends = new AsyncDisposableStack();
const world = ends.use(await makeWorld([], 1000, { program: resolve(values.program), nodeArgs: [] }));
const server = await application();
ends.defer(() => void server.close().closeAllConnections());
const upstreamPort = (server.address() as AddressInfo).port;
const rows: unknown[] = [];
console.log('| setting | offered | of them served | p50 ms | p99 ms |');
console.log('|---|---:|---:|---:|---:|');
for (const [what, upstream] of settings) {
  const name = `overload-${rows.length}`;
  const sidecar = await startDoorward({ ...world, upstreamPort }, { name, upstream });
  for (const load of [0.5, 3]) {
    const result = await served(world, sidecar.port, CAPACITY * load, seconds);
    const { answered, p50Us, p99Us } = result;
    const ms = [p50Us, p99Us].map((us) => (us / 1000).toFixed(0));
    console.log(
      `| ${what} | ${load} × | ${((100 * answered) / (CAPACITY * load * seconds)).toFixed(0)} % | ${ms.join(' | ')} |`,
    );
    rows.push({ what, load, ...result });
  }
  await sidecar.stop();
}
const results = join(benchDir, 'results');
mkdirSync(results, { recursive: true });
writeFileSync(
  join(results, `overload-${new Date().toISOString().replaceAll(/[:.]/g, '-')}.json`),
  JSON.stringify({ seconds, capacity: CAPACITY, rows }, undefined, 2),
);
