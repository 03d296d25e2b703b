// Where a Node peer spends its time under the load: runs it with --cpu-prof and sums self time by function.
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { load } from './load.ts';
import type { Peer } from './peer.ts';
import type { World } from './world.ts';

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** One function and its share of the time that was not idle. */
export interface SelfTime {
  readonly place: string;
  readonly share: number;
}

/** Functions by self time, most first. */
export function selfTimes(profile: CpuProfile): readonly SelfTime[] {
  const places = new Map(profile.nodes.map((node) => [node.id, placeOf(node.callFrame)]));
  const spent = new Map<string, number>();
  let total = 0;
  profile.samples.forEach((id, at) => {
    const place = places.get(id) as string;
    const us = Math.max(0, profile.timeDeltas[at] ?? 0);
    if (place === '(idle)') return;
    spent.set(place, (spent.get(place) ?? 0) + us);
    total += us;
  });
  const rows = [...spent].map(([place, us]) => ({ place, share: us / total }));
  return rows.sort((a, b) => b.share - a.share);
}

function placeOf({ functionName, url, lineNumber }: CpuProfile['nodes'][number]['callFrame']): string {
  const name = functionName === '' ? '(anonymous)' : functionName;
  if (url === '') return name;
  const file = url.startsWith('file:') ? fileURLToPath(url) : url;
  return `${name}  ${file.replace(/^.*?\/(?=src\/|node_modules\/|test\/)/, '')}:${lineNumber + 1}`;
}

/** The same by file: natives and the collector stand alone. */
export function byFile(rows: readonly SelfTime[]): readonly SelfTime[] {
  const sums = new Map<string, number>();
  for (const { place, share } of rows) {
    const file = place.includes('  ') ? (place.split('  ')[1] as string).replace(/:\d+$/, '') : place;
    sums.set(file, (sums.get(file) ?? 0) + share);
  }
  return [...sums].map(([place, share]) => ({ place, share })).sort((a, b) => b.share - a.share);
}

/** Loads `peer` for `seconds` under the profiler and prints its `top` functions. */
export async function profilePeer(world: World, peer: Peer, seconds: number, top = 45): Promise<void> {
  const folder = join(world.dir, 'profile');
  mkdirSync(folder);
  const running = await peer.start(world, ['--cpu-prof', `--cpu-prof-dir=${folder}`]);
  const plan = { tokenFile: world.tokens.file, seconds, connections: 64 };
  try {
    await load(world, running, plan);
    const round = await load(world, running, plan);
    console.log(
      `${peer.name}: ${round.requestsPerSecond.toFixed(0)} requests/s, ${round.cpuUs.toFixed(1)} µs CPU each`,
    );
  } finally {
    await running.stop();
  }
  const [file] = readdirSync(folder).filter((name) => name.endsWith('.cpuprofile'));
  if (file === undefined) throw new Error(`${peer.name} left no profile: it must end by itself on SIGTERM`);
  const rows = selfTimes(JSON.parse(readFileSync(join(folder, file), 'utf8')) as CpuProfile);
  for (const { place, share } of byFile(rows).slice(0, 25))
    console.log(`${(share * 100).toFixed(1).padStart(5)} %  ${place}`);
  console.log('');
  for (const { place, share } of rows.slice(0, top)) console.log(`${(share * 100).toFixed(1).padStart(5)} %  ${place}`);
}
