// Issuers' servers that answer everything but a key set: no token of theirs passes, nothing crashes, nothing is a 500.
import assert from 'node:assert/strict';
import { createSecretKey, generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { eventually } from '../rows/eventually.ts';
import { mintKey, mintToken, startJwksServer } from '../support/minting.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar } from '../support/sidecar.ts';

const key = mintKey('ES256', 'good');
const secret = Buffer.alloc(64, 'k');
const good = { keys: [key.jwk] };
const text = JSON.stringify(good);

/** A whole HTTP answer with `body`. */
function answer(body: string | Buffer, fields: readonly string[] = [], status = '200 OK'): Buffer {
  const head = [`HTTP/1.1 ${status}`, `Content-Length: ${Buffer.byteLength(body)}`, ...fields, 'Connection: close'];
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'), Buffer.from(body)]);
}

const json = (value: unknown) => answer(JSON.stringify(value));
const weakRsa = () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
  return mintKey('RS256', 'good', privateKey).jwk;
};
const { x, y, ...withoutPoint } = key.jwk as { x: string; y: string };

// By name: the bytes that are sent for whatever is asked, before the connection closes; `open` keeps it open.
const answers: Readonly<Record<string, Buffer | { readonly open: Buffer }>> = {
  nothing: Buffer.alloc(0),
  silence: { open: Buffer.alloc(0) },
  noise: Buffer.from('\x00\xff\x13\x37'.repeat(500), 'latin1'),
  'another protocol': Buffer.from('SSH-2.0-OpenSSH_9.9\r\n'),
  'half a head': { open: Buffer.from('HTTP/1.1 200 OK\r\nContent-Le') },
  'half a body': { open: Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n${text.slice(0, 50)}`) },
  'fewer bytes than announced': Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n${text}`),
  'two lengths': Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: ${text.length}\r\n\r\n${text}`),
  'a broken chunk': Buffer.from(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n${text}\r\n0\r\n\r\n`),
  'an endless head': { open: Buffer.from(`HTTP/1.1 200 OK\r\n${'X-Fill: 0123456789\r\n'.repeat(5000)}`) },
  'status 500': answer(text, [], '500 Oops'),
  'status 204': Buffer.from('HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n'),
  'status 206': answer(text, ['Content-Range: bytes 0-9/10'], '206 Partial Content'),
  'a redirect elsewhere': answer('', ['Location: http://169.254.169.254/latest'], '302 Found'),
  'a redirect to itself': answer('', ['Location: ?again'], '302 Found'),
  'a redirect to a file': answer('', ['Location: file:///etc/passwd'], '301 Moved'),
  'a web page': answer('<!doctype html><title>Sign in</title>', ['Content-Type: text/html']),
  'gzip that was not asked for': answer(gzipSync(text), ['Content-Encoding: gzip']),
  'cut JSON': answer(text.slice(0, -3)),
  'two documents': answer(text + text),
  'a byte order mark': answer(`\ufeff${text}`),
  'bad UTF-8': answer(Buffer.concat([Buffer.from('{"keys":[],"x":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')])),
  'a member twice': answer(`{"keys":[],"keys":${JSON.stringify(good.keys)}}`),
  'a member twice by escapes': answer(`{"keys":[],"\\u006beys":${JSON.stringify(good.keys)}}`),
  __proto__named: answer(`{"__proto__":{"keys":${JSON.stringify(good.keys)}}}`),
  null: json(null),
  'a list': json(good.keys),
  'a number': json(7),
  'no keys': json({}),
  'keys that are an object': json({ keys: { 0: key.jwk, length: 1 } }),
  'keys that are text': json({ keys: text }),
  'no key at all': json({ keys: [] }),
  'a hundred and one keys': json({ keys: Array.from({ length: 101 }, (_, at) => ({ ...key.jwk, kid: `k${at}` })) }),
  'things that are no keys': json({ keys: [null, 1, 'x', [], {}, { kty: 1 }, { kty: 'EC' }, { kty: 'EC', crv: {} }] }),
  'deep nesting': answer(`{"keys":${'['.repeat(50_000)}${']'.repeat(50_000)}}`),
  'two MiB': answer(`{"keys":${JSON.stringify(good.keys)},"fill":"${'x'.repeat(2 * 1024 * 1024)}"}`),
  'a shared secret': json({ keys: [{ kty: 'oct', kid: 'good', k: secret.toString('base64url'), alg: 'HS256' }] }),
  'a key for encryption': json({ keys: [{ ...key.jwk, use: 'enc' }] }),
  'a key of another algorithm': json({ keys: [{ ...key.jwk, alg: 'RS256' }] }),
  'a point off the curve': json({ keys: [{ ...withoutPoint, x, y: x }] }),
  'a point without y': json({ keys: [{ ...withoutPoint, x }] }),
  'a coordinate too long': json({ keys: [{ ...key.jwk, x: `AA${x}` }] }),
  'a weak modulus': json({ keys: [weakRsa()] }),
  'a kid that is no text': json({ keys: [{ ...key.jwk, kid: { toString: 'good' } }] }),
  'a huge kid': json({ keys: [{ ...key.jwk, kid: 'good'.repeat(10_000) }] }),
};

/** Sends the answer named by the path of the request. */
async function hostileServer() {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => {});
    socket.once('data', (chunk) => {
      const at = Number(/^GET \/(\d+)/.exec(chunk.toString('latin1'))?.[1]);
      const bytes = Object.values(answers)[at] as Buffer | { readonly open: Buffer };
      if ('open' in bytes) socket.write(bytes.open);
      else socket.end(bytes);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

const issuerOf = (at: number) => `https://issuer-${at}.test/`;

test('malformed key sets and metadata: their tokens are 401 or 503, the neighbour issuer serves, and each failure is told', async () => {
  await using server = await hostileServer();
  await using upstream = await recordingUpstream();
  const algorithms = ['ES256', 'RS256'];
  const names = Object.keys(answers);
  const block = (at: number) => ({
    issuer: issuerOf(at),
    audience: ['api'],
    algorithms,
    keys: { url: `${server.url}/${at}`, timeout: '300ms' },
  });
  const hostile = Object.fromEntries(names.map((_, at) => [`i${at}`, block(at)]));
  const neighbour = { issuer: 'https://good.test/', audience: ['api'], keys: { inline: good } };
  await using sidecar = await startSidecar(upstream.url, {
    proxy: { bad_tokens: '100000/1m' },
    issuers: { ...hostile, good: neighbour },
    defaults: { issuers: [...Object.keys(hostile), 'good'] },
  });
  const ask = async (token: string) => {
    const response = await fetch(sidecar.proxyUrl, { headers: { authorization: `Bearer ${token}` } });
    return { status: response.status, body: await response.text() };
  };
  const hs = mintKey('HS256', 'good', createSecretKey(secret));
  for (const [at, name] of names.entries()) {
    for (const by of [key, hs]) {
      const { status, body } = await ask(mintToken(by, issuerOf(at), Date.now()));
      assert.ok(status === 401 || status === 503, `${name}, ${by.alg}: ${status} ${body}`);
      const { code } = JSON.parse(body) as { code: string };
      assert.ok(['invalid_token', 'temporarily_unavailable'].includes(code), `${name}: ${code}`);
    }
  }
  assert.equal(upstream.bytes(), '');
  assert.equal((await ask(mintToken(key, 'https://good.test/', Date.now()))).status, 200);
  const failed = sidecar.logged().filter(({ event }) => event === 'keys_refresh_failed');
  const told = new Set(failed.map(({ issuer }) => issuer));
  assert.deepEqual(
    names.filter((_, at) => !told.has(`i${at}`)),
    [],
    'a failure that nobody was told of',
  );
  for (const { detail } of failed) assert.ok(String(detail).length < 500 && !/[^\x20-\x7e]/.test(String(detail)));
});

test('keys that were good serve on while their server answers nonsense, and an odd key does not spoil the good one beside it', async () => {
  const odd = [null, { kty: 'EC', crv: 'P-256', x: 'A', y: 'B' }, { kty: 'RSA', n: 'AQAB', e: 'AQAB', kid: 'good' }, 7];
  await using server = await startJwksServer([...odd, key.jwk]);
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, {
    issuers: { one: { issuer: server.url, audience: ['api'], keys: { refresh: '1s', cooldown: '1s', timeout: '1s' } } },
  });
  const ask = async () => {
    const headers = { authorization: `Bearer ${mintToken(key, server.url, Date.now())}` };
    const response = await fetch(sidecar.proxyUrl, { headers });
    await response.body?.cancel();
    return response.status;
  };
  assert.equal(await ask(), 200);
  const nonsense = Object.values(answers).filter((bytes) => Buffer.isBuffer(bytes));
  let asked = 0;
  server.answer = (_, response) => void response.socket?.end(nonsense[asked++ % nonsense.length] as Buffer);
  await eventually(async () => {
    assert.equal(await ask(), 200);
    return sidecar.logged().filter(({ event }) => event === 'keys_refresh_failed').length >= 3;
  }, 15_000);
  server.answer = undefined;
});
