// Sends generated connections through a sidecar to one upstream and judges them: what the client sent by the reference
// reading, what the upstream saw, and what the client got back must be one story.
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { startSidecar, type TestSidecar, tokenFor } from '../../support/sidecar.ts';
import { randomFrom } from '../random.ts';
import { makeScript, type Script, type Tokens } from './grammar.ts';
import { type ReadRequest, readRequests, readResponses, valuesOf } from './reading.ts';
import type { Seen, Upstream } from './recorder.ts';

/** What a run showed. */
export interface Outcome {
  readonly scripts: number;
  readonly requests: number;
  /** Requests that the upstream saw. */
  readonly served: number;
  readonly findings: readonly string[];
}

/** So long an answer may take. */
export const QUIET_MS = 20_000;
/** Connections at once. */
export const LANES = 16;

/** Public and protected places beside and inside each other, so that a path in the wrong place is a door. */
export const routes = (relax: readonly string[]) => ({
  admin: { match: { prefix: '/admin' }, relax },
  inner: { match: { prefix: '/public/admin' }, relax },
  files: { match: { prefix: '/files' }, auth: 'optional', relax },
  public: { match: { prefix: '/public' }, auth: 'none', relax },
  site: { match: { prefix: '/' }, auth: 'none', relax },
});
type Policy = 'required' | 'optional' | 'none';
const policies: Readonly<Record<string, Policy>> = {
  admin: 'required',
  inner: 'required',
  files: 'optional',
  public: 'none',
  site: 'none',
};

/** The policy for a path as the upstream understood it; written down here on its own. */
function policyOf(path: string): Policy {
  const text = path.replace(/%([0-9A-Fa-f]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
  const below = (prefix: string) => text === prefix || text.startsWith(`${prefix}/`);
  if (below('/admin') || below('/public/admin')) return 'required';
  return below('/files') ? 'optional' : 'none';
}

/** Runs scripts `seed`, `seed + 1`, … until `count` have run or `untilMs` (performance.now) has come. */
export async function runDifferential(options: {
  readonly upstream: Upstream;
  readonly seed: number;
  readonly count: number;
  readonly untilMs?: number;
  readonly relax?: readonly string[];
  readonly make?: (number: number, tokens: Tokens) => Script;
}): Promise<Outcome> {
  const { upstream, seed, count, untilMs = Number.POSITIVE_INFINITY } = options;
  await using sidecar = await startFor(upstream, { http2: false, relax: options.relax ?? [] });
  const tokens = makeTokens();
  const make = options.make ?? ((number: number) => makeScript(randomFrom(number), number, tokens));
  const asked = new Map<string, ReadRequest>();
  const findings: string[] = [];
  let next = 0;
  const lane = async () => {
    while (next < count && performance.now() < untilMs && findings.length < 20) {
      const number = seed + next++;
      const script = make(number, tokens);
      const { requests: whole, rest, begun } = readRequests(script.bytes);
      const requests = upstream.answersEarly && begun !== undefined ? [...whole, begun] : whole;
      for (const request of requests) asked.set(valuesOf(request, 'x-tag').join(), request);
      const wrong = await runScript(sidecar.port, script, requests, whole.length, rest);
      if (wrong === undefined) continue;
      const shown = JSON.stringify(showable(script.bytes, tokens));
      findings.push(`script ${number} (${upstream.name}): ${wrong}\n${shown}`);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  findings.push(...(await judgeUpstream(upstream, sidecar, asked, tokens)));
  return { scripts: next, requests: asked.size, served: upstream.seen.length, findings };
}

/** A sidecar before an upstream. */
export function startFor(
  { url, protocol = 'http1' }: Upstream,
  { http2, relax }: { readonly http2: boolean; readonly relax: readonly string[] },
): Promise<TestSidecar> {
  return startSidecar(url, {
    proxy: { bad_tokens: '1000000/1m', http2 },
    upstreams: { app: { url, protocol } },
    routes: routes(relax),
  });
}

/** A token that is good for two hours, and one whose signature is not. */
export function makeTokens(): Tokens {
  const good = tokenFor({ exp: Math.floor(Date.now() / 1000) + 7200 });
  return { good, bad: `${good.slice(0, -8)}AAAAAAAA` };
}

/** What was sent, short enough to read. */
export const showable = (text: string, { good, bad }: Tokens): string =>
  text
    .replaceAll(good, '<good>')
    .replaceAll(bad, '<bad>')
    .replace(/[hx]{99,}/g, '<huge>')
    .slice(0, 1500);

/** One connection; answers what is wrong with what the client got. */
async function runScript(
  port: number,
  script: Script,
  requests: readonly ReadRequest[],
  expected: number,
  rest: string,
): Promise<string | undefined> {
  const methods = requests.map(({ method }) => method);
  const { text, closed } = await exchange(port, script.pieces, (text, closed) => {
    const responses = readResponses(text, methods, closed);
    return responses === undefined || responses.length >= expected + (rest === 'broken' ? 1 : 0);
  });
  const responses = readResponses(text, methods, closed);
  if (responses === undefined) return `an answer that is none: ${JSON.stringify(text)}`;
  // A refusal may follow for what could not be read, and before it an early answer to the request that it belonged to.
  const more = (rest === 'whole' ? 0 : 1) + (requests.length - expected);
  if (responses.length > expected + more) return `${responses.length} answers to ${expected} requests`;
  for (const [at, { status, fields, body }] of responses.entries()) {
    if (status === 500 || status === 504) return `${status} as answer ${at}`;
    const echo = fields.get('x-echo');
    if (echo === undefined) continue;
    const request = requests[at];
    if (request === undefined) return `answer ${at} comes from the upstream, but there was no such request`;
    const wanted = `${valuesOf(request, 'x-tag').join()} ${request.method}`;
    if (echo.replace(/^\S+ /, '') !== wanted) return `answer ${at} is for ${echo} instead of ${wanted}`;
    if (request.method !== 'HEAD' && body !== echo) return `answer ${at} has the body ${JSON.stringify(body)}`;
  }
  if (!closed && responses.length < expected) return `${responses.length} answers to ${expected} requests, and silence`;
  // Who refuses before the body has come closes: the rest of the body would be read as a request.
  const saidClose = responses.at(-1)?.fields.get('connection') === 'close';
  if (script.sound && responses.length < expected && !saidClose)
    return `closed in silence after ${responses.length} answers`;
  if (rest === 'broken' && !closed && responses.length > expected)
    return 'the connection stayed open behind a broken request';
  return undefined;
}

async function exchange(port: number, pieces: readonly string[], isEnough: (text: string, closed: boolean) => boolean) {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  let text = '';
  let closed = false;
  const done = Promise.withResolvers<void>();
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
    if (isEnough(text, false)) done.resolve();
  });
  socket.on('close', () => {
    closed = true;
    done.resolve();
  });
  await once(socket, 'connect').catch(() => {});
  for (const piece of pieces) {
    if (socket.destroyed || !socket.writable) break;
    socket.write(piece, 'latin1');
    if (pieces.length > 1) await new Promise(setImmediate);
  }
  if (isEnough(text, false)) done.resolve();
  const timer = setTimeout(done.resolve, QUIET_MS);
  await done.promise;
  clearTimeout(timer);
  // Who said that the connection ends must end it; otherwise what should not come would come now.
  const ends = /\r\nconnection: close\r\n(?!.*\r\nHTTP\/1)/is.test(text);
  const gaveUp = new AbortController();
  if (!closed)
    await Promise.race([once(socket, 'close'), sleep(ends ? QUIET_MS : 5, undefined, gaveUp).catch(() => {})]);
  gaveUp.abort();
  socket.destroy();
  return { text, closed };
}

/** Everything that the upstream saw, against what was asked and what was decided. */
export async function judgeUpstream(
  upstream: Upstream,
  sidecar: TestSidecar,
  asked: ReadonlyMap<string, ReadRequest>,
  tokens: Tokens,
): Promise<readonly string[]> {
  await sleep(300);
  const findings = upstream.broken
    .slice(0, 5)
    .map((bytes) => `${upstream.name} got bytes that are no HTTP: ${JSON.stringify(bytes.slice(0, 1000))}`);
  const decisions = new Map(
    sidecar
      .logged()
      .filter(({ event }) => event === 'decision')
      .map((decision) => [decision.request_id, decision]),
  );
  const counted = new Set<string>();
  for (const seen of upstream.seen) {
    const wrong = judgeSeen(seen, asked.get(seen.tag), decisions.get(seen.id), tokens);
    if (wrong !== undefined) findings.push(`${upstream.name}: ${wrong}: ${JSON.stringify(seen)}`);
    if (counted.has(seen.tag) || counted.has(seen.id))
      findings.push(`${upstream.name} saw it twice: ${JSON.stringify(seen)}`);
    counted.add(seen.tag).add(seen.id);
  }
  if (upstream.answersAll) {
    for (const { request_id, outcome, status, stage } of decisions.values()) {
      if (outcome === 'allow' && status === 200 && !counted.has(request_id as string))
        findings.push(`${request_id} was served at ${stage}, but not seen`);
    }
  }
  return findings.slice(0, 20);
}

function judgeSeen(
  seen: Seen,
  request: ReadRequest | undefined,
  decision: Readonly<Record<string, unknown>> | undefined,
  tokens: Tokens,
): string | undefined {
  if (request === undefined) return 'a request that nobody sent';
  // What was let through and then given up, such as a client that left, is recorded as a refusal of that stage.
  if (decision?.outcome !== 'allow' && decision?.stage !== 'forward') {
    return `a request that was not let through (${JSON.stringify(decision)})`;
  }
  if (seen.method !== request.method || decision.method !== seen.method) return 'another method';
  const target = request.target.replace(/^https?:\/\/[^/?]*/i, '').replace(/^(?=\?|$)/, '/');
  if (seen.target !== target) return `another target than ${target}`;
  if (seen.host !== valuesOf(request, 'host').join()) return 'another host';
  if (request.body !== undefined && seen.body !== undefined && seen.body !== request.body)
    return `another body than ${JSON.stringify(request.body)}`;
  const policy = policies[decision.route as string];
  if (policyOf(seen.path) !== policy) return `judged as ${decision.route}, served as ${policyOf(seen.path)}`;
  return judgeIdentity(seen, request, policy, tokens);
}

const OURS = [
  'x-auth-client: web',
  'x-auth-issuer: https://id.test/',
  'x-auth-scopes: read write',
  'x-auth-subject: alice',
  'x-auth-token-id: ',
];

function judgeIdentity(seen: Seen, request: ReadRequest, policy: Policy, tokens: Tokens): string | undefined {
  const given = valuesOf(request, 'authorization').join();
  const isGood = given === `Bearer ${tokens.good}`;
  if (policy === 'required' && !isGood) return 'no good token';
  if (policy === 'optional' && given !== '' && !isGood) return 'a bad token';
  const wanted = policy === 'none' || given === '' ? [] : OURS;
  const same =
    seen.identity.length === wanted.length && wanted.every((line, at) => seen.identity[at]?.startsWith(line));
  return same ? undefined : `identity headers that are not ours: ${seen.identity.join(', ')}`;
}
