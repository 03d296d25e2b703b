// Sends generated HTTP/2 connections through a sidecar to one upstream and judges them as run.ts does: what was sent by the
// reference reading of each stream, what the upstream saw, and what came back on the stream must be one story.
import { setTimeout as sleep } from 'node:timers/promises';
import { FrameClient, frameTypes } from '../../support/http2-client.ts';
import { randomFrom } from '../random.ts';
import { statusOf } from './http2-frames.ts';
import { type Http2Script, makeHttp2Script, type SentStream } from './http2-grammar.ts';
import { readStream } from './http2-reading.ts';
import { type ReadRequest, valuesOf } from './reading.ts';
import type { Upstream } from './recorder.ts';
import { judgeUpstream, LANES, makeTokens, type Outcome, QUIET_MS, showable, startFor } from './run.ts';

const END_STREAM = 1;

/** Runs scripts `seed`, `seed + 1`, … until `count` have run or `untilMs` (performance.now) has come. */
export async function runHttp2Differential(options: {
  readonly upstream: Upstream;
  readonly seed: number;
  readonly count: number;
  readonly untilMs?: number;
  readonly relax?: readonly string[];
}): Promise<Outcome> {
  const { upstream, seed, count, untilMs = Number.POSITIVE_INFINITY, relax = [] } = options;
  await using sidecar = await startFor(upstream, { http2: true, relax });
  const tokens = makeTokens();
  const asked = new Map<string, ReadRequest>();
  const findings: string[] = [];
  let next = 0;
  const lane = async () => {
    while (next < count && performance.now() < untilMs && findings.length < 20) {
      const number = seed + next++;
      const script = makeHttp2Script(randomFrom(number), number, tokens);
      const requests = new Map(script.streams.map((stream) => [stream, readStream(stream)]));
      for (const [{ tag }, request] of requests) if (request !== undefined) asked.set(tag, request);
      const wrong = await runScript(sidecar.port, script, requests);
      if (wrong === undefined) continue;
      const shown = script.shown.map((line) => showable(line, tokens)).join('\n');
      findings.push(`HTTP/2 script ${number} (${upstream.name}): ${wrong}\n${shown}`);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  findings.push(...(await judgeUpstream(upstream, sidecar, asked, tokens)));
  return { scripts: next, requests: asked.size, served: upstream.seen.length, findings };
}

type Requests = ReadonlyMap<SentStream, ReadRequest | undefined>;

/** One connection; answers what is wrong with what the client got. */
async function runScript(port: number, script: Http2Script, requests: Requests): Promise<string | undefined> {
  await using client = await FrameClient.raw(port);
  for (const piece of script.pieces) {
    if (!client.socket.writable) break;
    client.socket.write(piece, 'latin1');
    if (script.pieces.length > 1) await new Promise(setImmediate);
  }
  const awaited = script.streams.filter(({ whole, withdrawn }) => whole && !withdrawn);
  const giveUpMs = performance.now() + QUIET_MS;
  const isDone = () => isLost(client) || (!script.fatal && awaited.every(({ id }) => hasEnded(client, id)));
  while (!isDone() && performance.now() < giveUpMs) await client.heard(100);
  if (script.fatal && !isLost(client)) return 'the connection goes on behind what ends it';
  // What should not come would come now.
  await sleep(2);
  for (const [stream, request] of requests) {
    const wrong = judgeStream(client, stream, request, script.sound);
    if (wrong !== undefined) return `stream ${stream.id}: ${wrong}`;
  }
  return undefined;
}

const isLost = (client: FrameClient) => client.closed || client.has(frameTypes.goaway, 0);

const framesOf = (client: FrameClient, id: number) => client.frames.filter(({ stream }) => stream === id);

const hasEnded = (client: FrameClient, id: number) =>
  framesOf(client, id).some(
    ({ type, flags }) => type === frameTypes.rst || (type <= frameTypes.headers && (flags & END_STREAM) !== 0),
  );

function judgeStream(
  client: FrameClient,
  sent: SentStream,
  request: ReadRequest | undefined,
  allSound: boolean,
): string | undefined {
  const frames = framesOf(client, sent.id);
  const statuses = frames.filter(({ type }) => type === frameTypes.headers).map(({ payload }) => statusOf(payload));
  const status = statuses.find((each) => each >= 200);
  if (status === 500 || status === 504) return `answered with ${status}`;
  const body = Buffer.concat(
    frames.filter(({ type }) => type === frameTypes.data).map(({ payload }) => payload),
  ).toString('latin1');
  if (sent.whole && !sent.withdrawn && !isLost(client) && !hasEnded(client, sent.id)) return 'silence';
  // NO_ERROR behind an answer: the rest of the request is not wanted (RFC 9113 section 8.1).
  const isAnswered = status !== undefined && (client.code(sent.id) ?? 0) === 0;
  if (sent.sound && sent.whole && !isAnswered && (allSound || !isLost(client))) return 'no answer to a sound request';
  if (status !== 200) return undefined;
  if (request === undefined) return 'served, but it is no request';
  const wanted = `${valuesOf(request, 'x-tag').join()} ${request.method}`;
  if (request.method === 'HEAD') return body === '' ? undefined : 'HEAD has a body';
  // What was broken off has said so.
  if (!hasEnded(client, sent.id) || client.has(frameTypes.rst, sent.id)) return undefined;
  return body.replace(/^\S+ /, '') === wanted
    ? undefined
    : `the answer ${JSON.stringify(body)} instead of one to ${wanted}`;
}
