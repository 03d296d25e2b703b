// `node test/bench/micro/run.ts`: nanoseconds of the steps that every accepted request takes, each alone. For finding what got
// slower, not for claims: the claims are measured on the whole program by ../run.ts.
import { generateKeyPairSync } from 'node:crypto';
import { SignJWT } from 'jose';
import { sidecarSchema } from '../../../src/config/schema.ts';
import { systemClock } from '../../../src/core/clock.ts';
import { hostName, readTarget } from '../../../src/http/canonical.ts';
import { staticClients } from '../../../src/limits/clients.ts';
import { chargesFor, compileLimits, LimitMemo } from '../../../src/limits/plan.ts';
import { fieldReader } from '../../../src/proxy/inbound/strip.ts';
import { identityPlan } from '../../../src/proxy/outbound/identity.ts';
import { openIssuer } from '../../../src/token/issuers.ts';
import { VerifiedToken } from '../../../src/token/verified-token.ts';
import { createVerifier } from '../../../src/token/verify.ts';
import { time } from './timing.ts';

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const iss = 'https://issuer.bench.example/';
const config = sidecarSchema.parse({
  version: 1,
  name: 'bench',
  upstreams: { app: { url: 'http://127.0.0.1:3000' } },
  issuers: {
    bench: {
      issuer: iss,
      audience: ['api'],
      keys: { inline: { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'ES256' }] } },
    },
  },
  limits: { per_ip: { key: 'ip', rate: '1000/1m' }, per_client: { key: 'client', rate: '1000/1m' } },
  defaults: { limits: ['per_ip', 'per_client'] },
  routes: { all: { match: { prefix: '/' } } },
});
const unused = () => {
  throw new Error('no secrets and files here');
};
const issuer = openIssuer('bench', config.issuers.bench as never, {
  secrets: unused,
  readFile: unused,
  clock: systemClock,
});
using verifier = createVerifier({ issuers: new Map([['bench', issuer]]), clock: systemClock });
const nowS = Math.floor(systemClock.nowMs() / 1000);
const mint = (number: number) =>
  new SignJWT({ iss, aud: 'api', iat: nowS, exp: nowS + 3600, sub: `user-${number}`, client_id: 'c', jti: `${number}` })
    .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: 'k' })
    .sign(privateKey);
const tokens = await Promise.all(Array.from({ length: 1000 }, (_unused, number) => mint(number)));
// A copy a call, as tokens arrive: a fresh string has no hash yet.
const bytes = tokens.map((token) => Buffer.from(token, 'latin1'));
const verified = await Promise.all(tokens.map((token) => verifier.verify(token, ['bench'])));
const { principal } = verified[0] as VerifiedToken;

const readFields = fieldReader(Object.keys(config.identity_headers));
const raw = ['Host', 'app.example', 'Authorization', `Bearer ${tokens[0]}`, 'Accept', 'application/json'];
raw.push('Accept-Encoding', 'gzip, br', 'User-Agent', 'bench/1.0', 'Cookie', 'a=b; c=d', 'X-Trace', '1');
const identity = identityPlan(config.identity_headers, undefined, systemClock);
const plan = compileLimits(config, config.name, staticClients(config.clients)).get('all') as never;
const memo = new LimitMemo();

console.log(`${'step'.padEnd(44)}${'least'.padStart(11)}${'middle'.padStart(12)}`);
time('canonical target, plain', () => readTarget('/api/items/42?view=full'));
time('canonical target, percent-encoded', () => readTarget('/api/items/caf%C3%A9%20noir?view=full'));
time('host name', () => hostName('app.example.com:8443'));
time('fields of a request, one pass', () => readFields(raw));
time('a token as text (part of the next)', (call) => bytes[call % 1000]?.toString('latin1'));
time('cached token, 1,000 distinct', (call) => verifier.peek((bytes[call % 1000] as Buffer).toString('latin1')));
time('identity headers, first use', () =>
  identity(new VerifiedToken(principal, '', { notBeforeMs: 0, notAfterMs: 0 })),
);
time('limit keys, first use of a token', () => chargesFor(plan, '10.0.0.1', '10.0.0.1', principal, new LimitMemo()));
time('limit keys, known token', () => chargesFor(plan, '10.0.0.1', '10.0.0.1', principal, memo));
await issuer[Symbol.asyncDispose]();
