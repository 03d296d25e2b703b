// Keys of every algorithm, tokens of every shape (good and hostile), and an issuer on the network whose answers a test
// writes. Signs with node:crypto on purpose: the code under test uses jose.
import {
  constants,
  createHmac,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type IssuerConfig, type SidecarInput, sidecarSchema } from '../../src/config/schema.ts';

/** A private key (or secret) with everything that could be published of it. */
export interface MintKey {
  readonly alg: string;
  readonly kid: string;
  readonly privateKey: KeyObject;
  /** Public JWK with kid, alg and use; for HS the secret one. */
  readonly jwk: Readonly<Record<string, unknown>>;
  /** SPKI PEM; empty for HS. */
  readonly pem: string;
}

function generate(alg: string): KeyObject {
  switch (alg) {
    case 'ES256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    case 'ES384':
      return generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
    case 'ES512':
      return generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey;
    case 'EdDSA':
      return generateKeyPairSync('ed25519').privateKey;
    default:
      return alg.startsWith('HS')
        ? createSecretKey(randomBytes(64))
        : generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  }
}

/** Makes a key, or dresses a given one. */
export function mintKey(alg: string, kid: string = alg.toLowerCase(), privateKey = generate(alg)): MintKey {
  if (privateKey.type === 'secret') {
    return { alg, kid, privateKey, jwk: { ...privateKey.export({ format: 'jwk' }), kid, alg }, pem: '' };
  }
  const publicKey = createPublicKey(privateKey);
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' };
  return { alg, kid, privateKey, jwk, pem: publicKey.export({ type: 'spki', format: 'pem' }) as string };
}

/** The signature bytes of `input` under `alg`. */
export function rawSignature(alg: string, privateKey: KeyObject, input: string): Buffer {
  const bytes = Buffer.from(input);
  const hash = `sha${alg.slice(2)}`;
  if (alg === 'EdDSA') return sign(null, bytes, privateKey);
  if (alg.startsWith('HS')) return createHmac(hash, privateKey).update(bytes).digest();
  if (alg.startsWith('ES')) return sign(hash, bytes, { key: privateKey, dsaEncoding: 'ieee-p1363' });
  if (alg.startsWith('PS')) {
    const padding = constants.RSA_PKCS1_PSS_PADDING;
    return sign(hash, bytes, { key: privateKey, padding, saltLength: constants.RSA_PSS_SALTLEN_DIGEST });
  }
  return sign(hash, bytes, privateKey);
}

/** base64url of text, bytes, or the JSON of anything else. */
export function segment(value: unknown): string {
  if (Buffer.isBuffer(value)) return value.toString('base64url');
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
}

/** A token whose header and claims are exactly as given: text, bytes or something to stringify. */
export function mintRaw(key: MintKey, header: unknown, claims: unknown): string {
  const input = `${segment(header)}.${segment(claims)}`;
  return `${input}.${rawSignature(key.alg, key.privateKey, input).toString('base64url')}`;
}

/** What `mintToken` changes of a good token; `undefined` removes a member. */
export interface MintChanges {
  readonly header?: Readonly<Record<string, unknown>>;
  readonly claims?: Readonly<Record<string, unknown>>;
}

/** A good RFC 9068 access token of `issuer` at `nowMs`, with changes. */
export function mintToken(key: MintKey, issuer: string, nowMs: number, changes: MintChanges = {}): string {
  const iat = Math.floor(nowMs / 1000);
  const header = { alg: key.alg, kid: key.kid, typ: 'at+jwt', ...changes.header };
  const claims = {
    iss: issuer,
    aud: 'api',
    sub: 'alice',
    client_id: 'web',
    jti: `jti-${randomBytes(6).toString('hex')}`,
    scope: 'read write',
    iat,
    exp: iat + 300,
    ...changes.claims,
  };
  return mintRaw(key, header, claims);
}

/** One block under `issuers` as written. */
export type IssuerInput = NonNullable<SidecarInput['issuers']>[string];

/** A validated issuer block; `audience: api` unless told. */
export function issuerConfig(input: Omit<IssuerInput, 'audience'> & Partial<IssuerInput>): IssuerConfig {
  const config = sidecarSchema.parse({
    version: 1,
    upstreams: { app: { url: 'http://127.0.0.1:1' } },
    issuers: { one: { audience: ['api'], ...input } },
    routes: { all: { match: { prefix: '/' } } },
  });
  return config.issuers.one as IssuerConfig;
}

/** An issuer on loopback. */
export interface JwksServer extends AsyncDisposable {
  /** `http://127.0.0.1:port`, to be used as `issuer` too. */
  readonly url: string;
  /** Paths asked for, in order. */
  readonly requests: string[];
  /** Keys it serves under /jwks while `answer` is undefined. */
  keys: readonly unknown[];
  /** Takes over every answer when set. */
  answer: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
  /** How often the JWKS was asked for. */
  fetches(): number;
}

/** Starts an issuer that serves metadata and `/jwks`. */
export async function startJwksServer(keys: readonly unknown[] = []): Promise<JwksServer> {
  const http = createServer((request, response) => {
    state.requests.push(request.url ?? '');
    if (state.answer) return state.answer(request, response);
    response.setHeader('content-type', 'application/json');
    if (request.url === '/jwks') return void response.end(JSON.stringify({ keys: state.keys }));
    if (request.url === '/.well-known/openid-configuration') {
      return void response.end(JSON.stringify({ issuer: state.url, jwks_uri: `${state.url}/jwks` }));
    }
    response.writeHead(404).end();
  }).listen(0, '127.0.0.1');
  await once(http, 'listening');
  const state: JwksServer = {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    requests: [],
    keys,
    answer: undefined,
    fetches: () => state.requests.filter((path) => path === '/jwks').length,
    async [Symbol.asyncDispose]() {
      http.close();
      http.closeAllConnections();
      await once(http, 'close');
    },
  };
  return state;
}
