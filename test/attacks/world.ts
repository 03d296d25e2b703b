// What the attack tests share: a sidecar before a recording upstream, requests written byte by byte, and what "refused"
// means: the right problem document, and an upstream that saw nothing at all.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { sendRaw } from '../support/raw-client.ts';
import { type RecordingUpstream, recordingUpstream } from '../support/recording-upstream.ts';
import { type SidecarWorld, startBefore, type TestSidecar } from '../support/sidecar.ts';

/** The routes that the attack list assumes, and a public catch-all, which is the most dangerous neighbour. */
export const attackRoutes = {
  public: { match: { prefix: '/public' }, auth: 'none' },
  admin: { match: { prefix: '/admin' } },
  site: { match: { prefix: '/' }, auth: 'none' },
} as const;

/** A sidecar and the upstream behind it. */
export interface World extends SidecarWorld<RecordingUpstream> {
  readonly port: number;
}

/** Starts both; `config` is merged over the attack routes. Bad tokens are not limited unless a test asks for it. */
export async function world(
  config: Readonly<Record<string, unknown>> = {},
  handler?: Parameters<typeof recordingUpstream>[0],
): Promise<World> {
  const { proxy = {}, ...rest } = config as { proxy?: object };
  const merged = { proxy: { bad_tokens: '1000000/1m', ...proxy }, routes: attackRoutes, ...rest };
  const at = await startBefore(await recordingUpstream(handler), merged);
  return { ...at, port: at.sidecar.port };
}

/**
 * A world whose upstream connection is open and idle. With a cold one, a request that should never have begun is given up
 * before it can be sent, and a test would pass for the wrong reason.
 */
export async function warmWorld(config: Readonly<Record<string, unknown>> = {}): Promise<World> {
  const at = await world(config);
  await assertForwarded(at, head('GET /public/warm'));
  at.upstream.clear();
  return at;
}

/** A request head as bytes: `line` without version; Host is `app` unless `fields` name one. */
export function head(line: string, fields: readonly string[] = [], version = 'HTTP/1.1'): string {
  const hosted = fields.some((field) => /^host:/i.test(field)) ? fields : ['Host: app', ...fields];
  return `${line} ${version}\r\n${hosted.map((field) => `${field}\r\n`).join('')}\r\n`;
}

/** `Authorization: Bearer …` as a field line. */
export const bearer = (token: string) => `Authorization: Bearer ${token}`;

/** Sends bytes on a new connection and returns the first final response. */
export async function ask(port: number, bytes: string | readonly string[], timeoutMs = 2000) {
  const { responses, closed, text } = await sendRaw(port, bytes, { timeoutMs });
  const response = responses.find(({ status }) => status >= 200);
  return { status: response?.status ?? 0, headers: response?.headers ?? {}, body: response?.body ?? '', closed, text };
}

/** Asserts that the answer is a refusal as the design words it: problem+json, and a challenge with 401. */
export function assertProblem(
  answer: Awaited<ReturnType<typeof ask>>,
  status: number | readonly number[],
  what: string,
): void {
  const wanted = typeof status === 'number' ? [status] : status;
  assert.ok(wanted.includes(answer.status), `${what}: ${answer.status} instead of ${wanted}: ${answer.text}`);
  assert.equal(answer.headers['content-type'], 'application/problem+json', what);
  const document = JSON.parse(answer.body) as { status: number; request_id: string };
  assert.equal(document.status, answer.status, what);
  assert.equal(document.request_id, answer.headers['x-request-id'], what);
  const challenge = answer.headers['www-authenticate'];
  if (answer.status === 401) assert.match(challenge ?? '', /^Bearer realm="/, what);
  else if (challenge !== undefined) assert.match(challenge, /error="(?:invalid_request|insufficient_scope)"/, what);
}

/** Sends bytes, and asserts the refusal and that not one byte of it reached the upstream. */
export async function assertRefused(
  { port, upstream }: World,
  bytes: string | readonly string[],
  status: number | readonly number[],
  options: { readonly closed?: boolean; readonly what?: string } = {},
): Promise<Awaited<ReturnType<typeof ask>>> {
  const what = options.what ?? JSON.stringify(bytes).slice(0, 200);
  upstream.clear();
  const answer = await ask(port, bytes);
  // What was pipelined behind it may be on its way.
  if (options.closed) await new Promise((resolve) => setTimeout(resolve, 15));
  assert.deepEqual(upstream.seen, [], `${what}: the upstream saw a request`);
  assert.equal(upstream.bytes(), '', `${what}: the upstream saw bytes`);
  assertProblem(answer, status, what);
  if (options.closed) assert.ok(answer.closed, `${what}: the connection stayed open`);
  return answer;
}

/** Sends bytes, asserts that they were accepted, and returns what the upstream saw. */
export async function assertForwarded({ port, upstream }: World, bytes: string | readonly string[]) {
  upstream.clear();
  const answer = await ask(port, bytes);
  assert.equal(answer.status, 200, answer.text);
  assert.equal(upstream.seen.length, 1);
  return upstream.seen[0] as RecordingUpstream['seen'][number];
}

/** Values of one field as the upstream saw it, in order; `name` in lower case. */
export function valuesOf(seen: { readonly rawHeaders: readonly string[] }, name: string): readonly string[] {
  return seen.rawHeaders.filter((_, at) => at % 2 === 1 && seen.rawHeaders[at - 1]?.toLowerCase() === name);
}

/** A call of the admin API with the first operator's token. */
export async function admin(sidecar: TestSidecar, method: string, path: string, body?: unknown) {
  const token = readFileSync(sidecar.adminTokenFile, 'utf8').trim();
  const response = await fetch(`${sidecar.adminUrl}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: (text === '' ? {} : JSON.parse(text)) as Record<string, unknown> };
}

/**
 * Resolves once the operator of this replica's state folder is in the database. Only that of the first replica gets in, so a second
 * one, started before, could leave {@link admin} without a token that counts.
 */
export const operatorKnown = (sidecar: TestSidecar): Promise<void> =>
  eventually(async () => (await admin(sidecar, 'GET', '/v1/operators')).status === 200, 20_000);

/** Polls until `holds`, for at most `withinMs`. */
export async function eventually(holds: () => boolean | Promise<boolean>, withinMs = 2000): Promise<void> {
  const untilMs = performance.now() + withinMs;
  while (!(await holds())) {
    assert.ok(performance.now() < untilMs, `not within ${withinMs} ms: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
