// The bench's issuer: one ES256 key, distinct access tokens in files for the load generators, and tokens that every checking
// peer must refuse. Signed with jose.
import { createHash, generateKeyPairSync, randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { systemClock } from '../../src/core/clock.ts';

/** `iss` of the bench's tokens. */
export const issuer = 'https://issuer.bench.example/';
/** `aud` of the bench's tokens. */
export const audience = 'api';
/** Distinct clients over all tokens. */
const CLIENTS = 50;

/** Key material and token files of one run. */
export interface TokenSet {
  readonly jwk: Readonly<Record<string, unknown>>;
  /** SPKI PEM of the public key. */
  readonly pem: string;
  readonly pemFile: string;
  /** One good token. */
  readonly good: string;
  /** Bad tokens by what is wrong with them. */
  readonly bad: Readonly<Record<string, string>>;
  /** File with one good token a line. */
  readonly file: string;
  /** Writes a file of `count` further good tokens. */
  write(name: string, count: number): Promise<string>;
}

/** Makes the key, `count` good tokens and the bad ones, in `dir`. */
export async function makeTokens(dir: string, count: number): Promise<TokenSet> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const pem = publicKey.export({ type: 'spki', format: 'pem' }) as string;
  const kid = createHash('sha256').update(pem).digest('base64url').slice(0, 16);
  const pemFile = join(dir, 'issuer.pub.pem');
  writeFileSync(pemFile, pem);
  const claims = (number: number) => ({
    client_id: `client-${number % CLIENTS}`,
    scope: 'read write',
    roles: ['editor'],
    tenant: 'acme',
    sub: `user-${number}`,
    jti: randomUUID(),
  });
  const mint = (number: number, changes: Record<string, unknown> = {}, key = privateKey) => {
    const nowS = Math.floor(systemClock.nowMs() / 1000);
    const all = { iss: issuer, aud: audience, iat: nowS, exp: nowS + 6 * 3600, ...claims(number), ...changes };
    return new SignJWT(all).setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid }).sign(key);
  };
  const write = async (name: string, howMany: number) => {
    const tokens = await Promise.all(Array.from({ length: howMany }, (_unused, number) => mint(number)));
    const file = join(dir, name);
    writeFileSync(file, `${tokens.join('\n')}\n`);
    return file;
  };
  return {
    jwk: { ...publicKey.export({ format: 'jwk' }), kid, alg: 'ES256', use: 'sig' },
    pem,
    pemFile,
    good: await mint(0),
    bad: {
      forged: await mint(0, {}, stranger),
      expired: await mint(0, { iat: 1_000_000_000, exp: 1_000_003_600 }),
      'other audience': await mint(0, { aud: 'other' }),
      'other issuer': await mint(0, { iss: 'https://elsewhere.example/' }),
      garbage: 'not.a.token',
    },
    file: await write('tokens.txt', count),
    write,
  };
}
