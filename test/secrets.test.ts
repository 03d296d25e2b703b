// One run with every kind of secret there is, and a search for all of them in everything that leaves the program.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createSecretKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { stringify } from 'yaml';
import { runCli } from '../src/cli/program.ts';
import { Captured } from './support/captured.ts';
import { mintKey, mintToken } from './support/minting.ts';
import { otlpReceiver } from './support/otlp-receiver.ts';
import { sendRaw } from './support/raw-client.ts';
import { recordingUpstream } from './support/recording-upstream.ts';
import { dumpRedis } from './support/redis-dump.ts';
import { startRedis } from './support/redis-server.ts';

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
const ISSUER = 'https://hs.test/';
const OURS = 'http://doorward.localhost';

interface Child {
  readonly process: ChildProcess;
  readonly addresses: Readonly<Record<'proxy' | 'admin' | 'observe', string>>;
}

async function start(file: string, env: Readonly<Record<string, string>>, captured: Captured): Promise<Child> {
  const child = spawn(process.execPath, [main, 'run', '--config', file], { env: { ...process.env, ...env } });
  const { promise, resolve, reject } = Promise.withResolvers<Child['addresses']>();
  child.once('exit', (code) => reject(new Error(`ended with ${code}: ${captured.get('stderr')}`)));
  let text = '';
  child.stderr.on('data', (chunk) => captured.add('stderr', String(chunk)));
  child.stdout.on('data', (chunk) => {
    text += chunk;
    captured.add('log', String(chunk));
    const line = /^\{.*"event":"listening".*$/m.exec(text);
    if (line !== null) resolve(JSON.parse(line[0]));
  });
  return { process: child, addresses: await promise };
}

test('attack 129, attack 33: no secret of a run stands in log, metrics, answers, configuration, decisions, traces, Redis or argv', async () => {
  const word = () => randomBytes(24).toString('base64url');
  const secrets: Record<string, string> = {
    'shared secret by env': word() + word(),
    'shared secret by value': word() + word(),
    'shared secret by file': word() + word(),
    'Redis password': word(),
    'application cookie': word(),
    'query parameter': word(),
    'Basic credentials': word(),
    'secret in a broken request': word(),
    'secret in a broken file': word() + word(),
    'bad Redis URL': word(),
    'request body': word(),
    'header for the collector': word(),
    'wrong operator token': `dwa_${word()}`,
  };
  const secret = (name: string) => secrets[name] as string;
  const folder = mkdtempSync(join(tmpdir(), 'doorward-secrets-'));
  const captured = new Captured();
  await using redis = await startRedis();
  await using upstream = await recordingUpstream((_, response) => void response.end('served'));
  await using collector = await otlpReceiver();
  const admin = new Redis(redis.url);
  await admin.config('SET', 'requirepass', secret('Redis password'));
  admin.disconnect();
  const redisUrl = redis.url.replace('//', `//:${secret('Redis password')}@`);
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  secrets['signing key'] = pem.split('\n')[1] as string;
  secrets['signing key, private member'] = privateKey.export({ format: 'jwk' }).d as string;
  const env = { HS_SECRET: secret('shared secret by env'), SIGNING_KEY: pem, REDIS_URL: redisUrl };
  writeFileSync(join(folder, 'hs.txt'), secret('shared secret by file'));
  const config = {
    version: 1,
    name: 'secrets',
    state_dir: 'state',
    proxy: { listen: '127.0.0.1:0', error_detail: 'reason', drain: { delay: '0ms', timeout: '1s' } },
    admin: { listen: '127.0.0.1:0' },
    observe: { listen: '127.0.0.1:0' },
    upstreams: { app: { url: upstream.url }, away: { url: 'http://127.0.0.1:1' } },
    issuers: {
      env: { issuer: ISSUER, audience: ['api'], keys: { secret: { env: 'HS_SECRET' } } },
      value: {
        issuer: 'https://v.test/',
        audience: ['api'],
        keys: { secret: { value: secret('shared secret by value') } },
      },
      file: { issuer: 'https://f.test/', audience: ['api'], keys: { secret: { file: 'hs.txt' } } },
      self: { issuer: OURS, audience: ['api'], sign: { key: { env: 'SIGNING_KEY' } } },
    },
    defaults: { issuers: ['env', 'value', 'file', 'self'] },
    routes: {
      cookie: { match: { prefix: '/cookie' }, upstream: 'app', credentials: [{ cookie: 'access' }] },
      query: { match: { prefix: '/query' }, upstream: 'app', credentials: [{ query: 'access_token' }] },
      header: { match: { prefix: '/header' }, upstream: 'app', credentials: [{ header: 'X-Token' }] },
      socket: { match: { prefix: '/ws' }, upstream: 'app', credentials: ['websocket'] },
      away: { match: { prefix: '/away' }, upstream: 'away' },
      scoped: { match: { prefix: '/scoped' }, upstream: 'app', require: { scopes: ['never'] } },
      all: { match: { prefix: '/' }, upstream: 'app' },
    },
    redis: { url: { env: 'REDIS_URL' }, timeout: '1s' },
    log: { level: 'debug', decisions: { allow: 1, deny: 1 }, subject: 'plain' },
    tracing: {
      endpoint: collector.url,
      headers: { Authorization: { value: `Bearer ${secret('header for the collector')}` } },
      ratio: 1,
    },
  };
  const file = join(folder, 'sidecar.yaml');
  writeFileSync(file, stringify(config));
  const child = await start(file, env, captured);
  try {
    const { proxy, admin: adminUrl, observe } = child.addresses;
    const adminToken = readFileSync(join(folder, 'state/admin.token'), 'utf8').trim();
    secrets['operator token'] = adminToken;
    const ask = async (where: string, url: string, init: RequestInit = {}) => {
      const response = await fetch(url, init);
      const text = await response.text();
      captured.add(where, `${response.status} ${JSON.stringify([...response.headers])} ${text}`);
      return { status: response.status, text };
    };
    const call = (method: string, path: string, body?: unknown, token = adminToken) =>
      ask(`admin ${method} ${path}`, `${adminUrl}${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, ...(body ? { 'content-type': 'application/json' } : {}) },
        ...(body ? { body: JSON.stringify(body) } : {}),
      });

    const hs = mintKey('HS256', 'hs', createSecretKey(Buffer.from(env.HS_SECRET)));
    const minted = (name: string, claims: Readonly<Record<string, unknown>> = {}) => {
      const token = mintToken(hs, ISSUER, Date.now(), { claims: { ...claims }, header: { kid: undefined } });
      secrets[`${name} token, payload`] = token.split('.')[1] as string;
      secrets[`${name} token, signature`] = token.split('.')[2] as string;
      return token;
    };
    const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
    const garbage = `${word()}.${word()}.${word()}`;
    secrets['malformed token'] = garbage;
    const accepted = minted('accepted');
    const refused = minted('refused', { aud: 'else' });
    const revoked = minted('revoked');

    assert.equal((await ask('answer', `${proxy}/?api_key=${secret('query parameter')}`, bearer(accepted))).status, 200);
    assert.equal((await ask('answer', `${proxy}/`, bearer(refused))).status, 401);
    assert.equal((await ask('answer', `${proxy}/`, bearer(`${accepted.slice(0, -6)}AAAAAA`))).status, 401);
    assert.equal((await ask('answer', `${proxy}/`, bearer(garbage))).status, 401);
    assert.equal((await ask('answer', `${proxy}/scoped`, bearer(accepted))).status, 403);
    assert.equal((await ask('answer', `${proxy}/away`, bearer(accepted))).status, 502);
    const session = `session=${secret('application cookie')}`;
    const cookies = (token: string) => ({ headers: { cookie: `access=${token}; ${session}` } });
    assert.equal((await ask('answer', `${proxy}/cookie`, cookies(minted('cookie')))).status, 200);
    assert.equal((await ask('answer', `${proxy}/cookie`, cookies(minted('bad cookie', { aud: 'x' })))).status, 401);
    assert.equal((await ask('answer', `${proxy}/query?access_token=${minted('query')}&a=1`)).status, 200);
    assert.equal((await ask('answer', `${proxy}/query?access_token=${minted('bad query', { aud: 'x' })}`)).status, 401);
    assert.equal((await ask('answer', `${proxy}/header`, { headers: { 'x-token': minted('header') } })).status, 200);
    const basic = `Basic ${Buffer.from(`user:${secret('Basic credentials')}`).toString('base64')}`;
    secrets['Basic credentials, encoded'] = basic.slice(6);
    assert.equal((await ask('answer', `${proxy}/`, { headers: { authorization: basic } })).status, 401);
    const body = { method: 'POST', body: secret('request body'), ...bearer(refused) };
    assert.equal((await ask('answer', `${proxy}/`, body)).status, 401);
    await handshake(proxy, minted('socket', { aud: 'x' }), captured);
    await breakRequests(Number(new URL(proxy).port), secret('secret in a broken request'), captured);

    assert.equal((await ask('answer', `${proxy}/`, bearer(revoked))).status, 200);
    assert.equal((await call('POST', '/v1/revocations', { token: revoked })).status, 201);
    assert.equal((await ask('answer', `${proxy}/`, bearer(revoked))).status, 401);
    await call('POST', '/v1/tokens/introspect', { token: accepted });
    await call('POST', '/v1/tokens/introspect', { token: garbage });
    await call('POST', '/v1/explain', { method: 'GET', url: '/', token: accepted });
    await call('POST', '/v1/explain', { method: 'GET', url: `/query?access_token=${accepted}` });
    await call('POST', '/v1/tokens', { subject: accepted, scopes: [`${secret('request body')} x`] });
    await call('GET', '/v1/status', undefined, secret('wrong operator token'));
    await call('GET', '/v1/status', undefined, accepted);
    for (const path of ['/v1/config', '/v1/status', '/v1/decisions?limit=900', '/v1/revocations']) {
      assert.equal((await call('GET', path)).status, 200);
    }
    for (const path of ['/healthz', '/readyz', '/metrics']) await ask('observe', `${observe}${path}`);
    await brokenReloads(file, config, secrets, call);
    for (const args of [['config', 'show'], ['config', 'show', '--json'], ['check']]) {
      const out = (line: string) => captured.add(`doorward ${args.join(' ')}`, line);
      const terminal = { out, err: out, readInput: async () => '', env };
      await runCli([...args, '--config', file], terminal);
    }
    captured.add('argv', readFileSync(`/proc/${child.process.pid}/cmdline`, 'utf8'));
    // With Redis gone its errors are told as well.
    captured.add('Redis', await dumpRedis(redisUrl));
    await redis.stop();
    await ask('answer', `${proxy}/`, bearer(accepted));
    await ask('observe', `${observe}/readyz`);
    await call('POST', '/v1/revocations', { kind: 'subject', issuer: 'env', id: 'mallory' });
    await call('GET', '/v1/decisions');

    const isOfToken = ([name]: [string, string]) => / token, |malformed token/.test(name);
    for (const [name, value] of Object.entries(secrets).filter(isOfToken)) {
      assert.ok(!upstream.bytes().includes(value), `${name} reached the upstream`);
    }
    const ended = once(child.process, 'exit');
    child.process.kill('SIGTERM');
    await ended;
    const [message] = collector.messages;
    assert.equal(message?.headers.authorization, `Bearer ${secret('header for the collector')}`);
    for (const { text } of collector.messages) captured.add('traces', text);
    assert.match(captured.get('traces'), /"stringValue":"token_revoked"/, 'the spans were captured');
    assert.match(captured.get('log'), /"reason":"token_revoked"/, 'the log was captured');
    assert.match(captured.get('Redis'), /decisions/, 'Redis was captured');
    for (const [name, value] of Object.entries(secrets)) captured.assertWithout(name, value);
  } finally {
    child.process.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
});

/** A WebSocket handshake with the token in the subprotocol, refused. */
async function handshake(proxy: string, token: string, captured: Captured): Promise<void> {
  const request = httpRequest(`${proxy}/ws`, {
    headers: {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': randomBytes(16).toString('base64'),
      'sec-websocket-protocol': `chat, doorward.bearer.${token}`,
    },
  }).end();
  const [response] = await once(request, 'response');
  assert.equal(response.statusCode, 401);
  for await (const chunk of response) captured.add('answer', String(chunk));
  captured.add('answer', JSON.stringify(response.rawHeaders));
}

/** Requests that the parser, the path rules and the field rules refuse, each with a secret where errors like to quote. */
async function breakRequests(port: number, secret: string, captured: Captured): Promise<void> {
  const host = 'Host: a\r\n';
  const heads = [
    `GET / HTTP/1.1\r\n${host}Authorization: Bearer ${secret}\r\nBad Field ${secret}\r\n\r\n`,
    `GET / HTTP/1.1\r\n${host}Authorization: Bearer ${secret}\r\nX: ${secret}\u0000\r\n\r\n`,
    `GET / HTTP/9.9\r\n${host}Authorization: Bearer ${secret}\r\n\r\n`,
    `GET / HTTP/1.1\r\n${host}Authorization: Bearer ${secret}\r\nAuthorization: Bearer ${secret}\r\n\r\n`,
    `GET / HTTP/1.1\r\n${host}Authorization: ${secret}\r\n\r\n`,
    `GET /?access_token=${secret} HTTP/1.1\r\n${host}Authorization: Bearer ${secret},${secret}\r\n\r\n`,
    `GET /query?access_token=${secret}&access_token=${secret} HTTP/1.1\r\n${host}\r\n`,
    `GET /query?access_token=%${secret} HTTP/1.1\r\n${host}\r\n`,
    `GET /cookie HTTP/1.1\r\n${host}Cookie: access=${secret}; access=${secret}\r\n\r\n`,
    `GET / HTTP/1.1\r\n${host}X-Large: ${secret.repeat(700)}\r\n\r\n`,
    `POST / HTTP/1.1\r\n${host}Authorization: Bearer ${secret}\r\nTransfer-Encoding: chunked\r\n\r\n${secret}\r\n`,
  ];
  for (const head of heads) {
    const { text } = await sendRaw(port, head, { timeoutMs: 1000 });
    // A body that breaks while an answer is owed ends the connection instead.
    assert.match(text, /^(?:HTTP\/1\.1 4\d\d |$)/, head.slice(0, 60));
    captured.add('answer', text);
  }
}

/** Files that do not hold, each with a secret at the place of its problem. */
async function brokenReloads(
  file: string,
  config: Readonly<Record<string, unknown>>,
  secrets: Readonly<Record<string, string>>,
  call: (method: string, path: string, body?: unknown) => Promise<{ status: number; text: string }>,
): Promise<void> {
  const broken = secrets['secret in a broken file'] as string;
  const issuer = { issuer: ISSUER, audience: ['api'] };
  const withKeys = (keys: unknown) => stringify({ ...config, issuers: { env: { ...issuer, keys } } });
  const files = [
    withKeys({ secret: broken }),
    withKeys({ secret: { value: broken, env: broken } }),
    withKeys({ secret: { value: [broken] } }),
    withKeys({ pem: { value: `-----BEGIN PUBLIC KEY-----\n${broken}\n-----END PUBLIC KEY-----` } }),
    withKeys({ secret: { value: broken.slice(0, 31) } }),
    withKeys({ inline: { keys: [{ kty: 'oct', k: broken }] } }),
    stringify({ ...config, redis: { url: { value: secrets['bad Redis URL'] } } }),
    stringify({ ...config, redis: { url: `redis://:${secrets['bad Redis URL']}@x` } }),
    `${stringify(config)}\n  secret: {value: "${broken}\n`,
    `${stringify(config)}\nsecret: [${broken}\n`,
  ];
  const good = readFileSync(file);
  for (const text of files) {
    writeFileSync(file, text);
    const answer = await call('POST', '/v1/config/reload', {});
    assert.equal(answer.status, 422, answer.text);
  }
  writeFileSync(file, good);
  assert.equal((await call('POST', '/v1/config/reload', {})).status, 200);
}
