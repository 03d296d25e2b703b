// The Fastify stack that people build instead: http-proxy, jwt and rate-limit on Redis, set up after their own READMEs, with
// the same issuer, limits and identity headers as the other peers. It has no revocation check, which favours it.
// `node server.ts <settings.json>`.
import { readFileSync } from 'node:fs';
import httpProxy from '@fastify/http-proxy';
import jwt from '@fastify/jwt';
import rateLimit from '@fastify/rate-limit';
import Fastify from 'fastify';
import { Redis } from 'ioredis';

const settings = JSON.parse(readFileSync(process.argv[2] as string, 'utf8'));
const redis = new Redis(settings.redisUrl, { enableAutoPipelining: settings.pipelining });
const app = Fastify({ logger: false, keepAliveTimeout: 75_000 });

await app.register(jwt, {
  secret: { public: settings.pem },
  verify: {
    algorithms: ['ES256'],
    allowedIss: settings.issuer,
    allowedAud: settings.audience,
    cache: settings.cache ? 50_000 : false,
  },
});
const quota = { redis, max: settings.limit, timeWindow: '1 minute' };
await app.register(rateLimit, { ...quota, nameSpace: 'ip:' });
app.addHook('onRequest', async (request) => {
  await request.jwtVerify();
});
await app.register(rateLimit, {
  ...quota,
  nameSpace: 'client:',
  hook: 'preHandler',
  keyGenerator: (request) => request.user.client_id,
});
await app.register(httpProxy, {
  upstream: `http://127.0.0.1:${settings.upstreamPort}`,
  undici: { connections: 128, pipelining: 1 },
  replyOptions: {
    rewriteRequestHeaders: (request, headers) => {
      const { user } = request;
      const { authorization: _kept, ...rest } = headers;
      rest['x-auth-subject'] = user.sub;
      rest['x-auth-issuer'] = user.iss;
      rest['x-auth-client'] = user.client_id;
      rest['x-auth-scopes'] = user.scope;
      rest['x-auth-roles'] = user.roles.join(',');
      rest['x-auth-tenant'] = user.tenant;
      rest['x-auth-token-id'] = user.jti;
      return rest;
    },
  },
});
await app.listen({ host: '127.0.0.1', port: settings.port });
process.once('SIGTERM', () => process.exit(0));
