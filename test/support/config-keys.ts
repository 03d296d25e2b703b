// Key material that configuration tests refer to by environment variables; made fresh for every run.
import { generateKeyPairSync, randomBytes } from 'node:crypto';

const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const publishing = generateKeyPairSync('ed25519');

/** An environment with one of everything: an EC P-256 key pair in PEM, a publishing key pair, a KEK, a 48-byte HMAC secret, a Redis URL, an empty value. */
export const configEnvironment: Readonly<Record<string, string>> = {
  PRIVATE_PEM: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  PUBLIC_PEM: pair.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  JWT_SECRET: randomBytes(24).toString('hex'),
  REDIS_URL: 'redis://:s3cret@127.0.0.1:6379',
  POSTGRES_URL: 'postgres://doorward:s3cret@127.0.0.1:5432/doorward',
  PUBLISHING_PUBLIC_PEM: publishing.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  PUBLISHING_PRIVATE_PEM: publishing.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  KEK: randomBytes(32).toString('base64'),
  EMPTY: '',
};
