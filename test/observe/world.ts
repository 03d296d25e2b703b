// A sidecar with everything that has a metric: Redis, PostgreSQL, TLS, an issuer of its own, a foreign one on the network, limits,
// a collector of traces, and an application that also fails and streams; with traffic of every kind on request, and its own scrape.
import { generateKeyPairSync } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { admin } from '../attacks/world.ts';
import { eventually } from '../rows/eventually.ts';
import { testAuthority } from '../support/certificates.ts';
import { freePort } from '../support/free-port.ts';
import { mintKey, mintToken, startJwksServer } from '../support/minting.ts';
import { otlpReceiver } from '../support/otlp-receiver.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { configFor, startSidecar } from '../support/sidecar.ts';

/** The open world. */
export type ObservedWorld = Awaited<ReturnType<typeof observedWorld>>;

/** Starts it. */
export async function observedWorld(more: Readonly<Record<string, unknown>> = {}) {
  const closing = new AsyncDisposableStack();
  const redis = closing.use(await startRedis('--maxmemory-policy', 'noeviction'));
  const database = closing.use(await openTestDatabase());
  const key = mintKey('ES256');
  const issuer = closing.use(await startJwksServer([key.jwk]));
  const upstream = closing.use(
    await recordingUpstream((asked, response) => {
      if (asked.url?.startsWith('/reset')) return void asked.socket.destroy();
      if (asked.url?.startsWith('/events')) {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        return void response.write('data: one\n\n');
      }
      response.end('fine');
    }),
  );
  const collector = closing.use(await otlpReceiver());
  const authority = testAuthority();
  closing.defer(() => authority[Symbol.dispose]());
  const served = authority.issue('app', 'DNS:localhost,IP:127.0.0.1', 'serverAuth');
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const proxyPort = await freePort();
  const config = {
    ...postgresConfig(database),
    proxy: {
      listen: `127.0.0.1:${proxyPort}`,
      drain: { delay: '0ms', timeout: '2s' },
      endpoints: { oauth: true },
      bad_tokens: '1000000/1m',
      tls: { certificates: [{ certificate: { value: served.certificate }, key: { value: served.key } }] },
    },
    redis: { url: { value: redis.url }, timeout: '1s' },
    control_plane: {
      signing_key: { value: privateKey.export({ type: 'pkcs8', format: 'pem' }) },
      public_key: { value: publicKey.export({ type: 'spki', format: 'pem' }) },
    },
    issuers: {
      self: { issuer: `https://127.0.0.1:${proxyPort}`, audience: ['api'], sign: {} },
      corp: { issuer: issuer.url, audience: ['api'], keys: { url: `${issuer.url}/jwks` } },
    },
    limits: { per_subject: { key: 'subject', rate: '30/1h' }, oauth: { key: 'ip', rate: '1000/1m' } },
    oauth: { limits: { token: ['oauth'] } },
    tracing: { endpoint: collector.url, ratio: 1 },
    defaults: { issuers: ['self', 'corp'] },
    routes: {
      public: { match: { prefix: '/public' }, auth: 'none' },
      limited: { match: { prefix: '/limited' }, limits: ['per_subject'] },
      admin: { match: { prefix: '/admin' }, require: { scopes: ['admin'] } },
      all: { match: { prefix: '/' } },
    },
    ...more,
  };
  const sidecar = closing.use(await startSidecar(upstream.url, config));
  // Another replica, without PostgreSQL: a revocation is on its way only where it was not made.
  const replica = closing.use(
    await startSidecar(upstream.url, {
      redis: config.redis,
      control_plane: { public_key: config.control_plane.public_key },
      issuers: { corp: config.issuers.corp },
    }),
  );
  const agent = new Agent({ connect: { ca: authority.certificate }, connections: 8 });
  closing.defer(() => agent.destroy());
  const token = (claims: Readonly<Record<string, unknown>> = {}) =>
    mintToken(key, issuer.url, Date.now(), { claims: { ...claims } });
  const call = async (path: string, bearer?: string, headers: Readonly<Record<string, string>> = {}) => {
    const fields = { ...headers, ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }) };
    const { statusCode, body } = await request(`${sidecar.proxyUrl}${path}`, { dispatcher: agent, headers: fields });
    const text = await body.text();
    return { status: statusCode, text };
  };
  const scrape = async () => (await fetch(`${sidecar.observeUrl}/metrics`)).text();
  return {
    ...{ redis, issuer, upstream, sidecar, token, call, scrape, agent },
    /** Waits until a line of the scrape is there. */
    eventually: (line: string) => eventually(async () => (await scrape()).split('\n').includes(line), 60_000),
    /** Writes a file that is refused, and has it loaded. */
    breakConfig() {
      sidecar.writeConfig({ ...configFor(upstream.url, config), nonsense: true });
      sidecar.reload();
    },
    /** A round of everything: accepted, refused for many reasons, limited, failing upstream, admin calls, a revocation. */
    async traffic() {
      const good = token();
      for (let round = 0; round < 20; round += 1) {
        await call('/fine', good);
        await call('/limited', good);
        await call('/public');
      }
      for (const bad of [undefined, 'nonsense', `${good}x`, token({ exp: 1 }), token({ aud: 'other' })]) {
        await call('/fine', bad);
        await call('/fine', bad);
      }
      await call('/admin', good);
      await call('/reset', good);
      const issued = await admin(sidecar, 'POST', '/v1/tokens', { subject: 'bob', client: 'web' });
      await call('/fine', issued.body.token as string);
      await admin(replica, 'POST', '/v1/revocations', { kind: 'subject', issuer: issuer.url, id: 'mallory' });
      await call('/fine', token({ sub: 'mallory', iat: Math.floor(Date.now() / 1000) - 10 }));
    },
    /** Opens an event stream; `end` ends it. */
    async openStream() {
      const { body } = await request(`${sidecar.proxyUrl}/events`, {
        dispatcher: agent,
        headers: { authorization: `Bearer ${token()}` },
      });
      body.on('error', () => {});
      await sleep(50);
      return { end: () => body.destroy() };
    },
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}
