// Closed-loop load at saturation: wrk with one thread, keep-alive connections and a token a request. Says what the peer
// process spent on it.
import { join } from 'node:path';
import { runToEnd } from './children.ts';
import { coreBusyMs, cpuMs, residentMb } from './cpu.ts';
import type { RunningPeer } from './peer.ts';
import { target } from './requests.ts';
import { benchDir } from './tools.ts';
import type { World } from './world.ts';

/** One round of one peer. */
export interface Round {
  readonly requestsPerSecond: number;
  /** CPU time of the peer process per answered request, in microseconds. */
  readonly cpuUs: number;
  /** Share of one core that the peer used: below 0.95 something else was the bottleneck. */
  readonly busy: number;
  /** Share of that core that others took; above 0.05 the machine was not quiet. */
  readonly others: number;
  readonly residentMb: number;
  readonly requests: number;
  /** Answers with a status of 400 and above. */
  readonly refused: number;
  /** Connection errors and time-outs. */
  readonly failed: number;
}

/** What to send, and how long. */
export interface LoadPlan {
  readonly tokenFile: string;
  readonly seconds: number;
  readonly connections: number;
  /** Each request with a signature never seen before. */
  readonly forged?: boolean;
}

interface WrkResult {
  readonly requests: number;
  readonly durationUs: number;
  readonly refused: number;
  readonly failed: number;
}

/** Loads `peer` and yields what came of it; throws when wrk fails. */
export async function load(world: World, peer: RunningPeer, plan: LoadPlan): Promise<Round> {
  const args = ['-t1', `-c${plan.connections}`, `-d${plan.seconds}s`, '-s', join(benchDir, 'load.lua')];
  args.push(`http://127.0.0.1:${peer.port}${target}`, '--', plan.tokenFile, plan.forged ? 'forged' : 'good');
  const core = world.peerCore ?? '0';
  const before = { used: cpuMs(peer.pid), busy: coreBusyMs(core) };
  const startedAt = performance.now();
  const out = await runToEnd(world.tool('wrk'), args, world.loadCores, (plan.seconds + 20) * 1000);
  const wallMs = performance.now() - startedAt;
  const usedMs = cpuMs(peer.pid) - before.used;
  const othersMs = Math.max(0, coreBusyMs(core) - before.busy - usedMs);
  const line = /^RESULT (\{.*\})$/m.exec(out)?.[1];
  if (line === undefined) throw new Error(`wrk printed no result:\n${out.slice(-500)}`);
  const { requests, durationUs, refused, failed } = JSON.parse(line) as WrkResult;
  return {
    requestsPerSecond: (requests * 1e6) / durationUs,
    cpuUs: requests === 0 ? 0 : (usedMs * 1000) / requests,
    busy: usedMs / wallMs,
    others: othersMs / wallMs,
    residentMb: residentMb(peer.pid),
    requests,
    refused,
    failed,
  };
}
