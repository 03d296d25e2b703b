// The AWS KMS key-encryption key, with the real SDK, against a server that speaks the KMS JSON API.
import assert from 'node:assert/strict';
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { before, test } from 'node:test';
import { awsKmsKek } from '../../src/keys/kek-aws.ts';

interface Ask {
  readonly KeyId: string;
  readonly EncryptionContext: Record<string, string>;
  readonly Plaintext?: string;
  readonly CiphertextBlob?: string;
}

const master = randomBytes(32);
const associated = (ask: Ask) => Buffer.from(JSON.stringify([ask.KeyId, Object.entries(ask.EncryptionContext).sort()]));

function encrypt(ask: Ask): object {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', master, nonce).setAAD(associated(ask));
  const body = [cipher.update(ask.Plaintext as string, 'base64'), cipher.final()];
  return { CiphertextBlob: Buffer.concat([nonce, cipher.getAuthTag(), ...body]).toString('base64'), KeyId: ask.KeyId };
}

function decrypt(ask: Ask): object | undefined {
  const sealed = Buffer.from(ask.CiphertextBlob as string, 'base64');
  const decipher = createDecipheriv('aes-256-gcm', master, sealed.subarray(0, 12)).setAAD(associated(ask));
  decipher.setAuthTag(sealed.subarray(12, 28));
  try {
    return { Plaintext: Buffer.concat([decipher.update(sealed.subarray(28)), decipher.final()]).toString('base64') };
  } catch {
    return undefined;
  }
}

/** Answers Encrypt and Decrypt; `refuse` makes it answer that error instead. */
async function startKms(refuse?: string) {
  const seen: IncomingHttpHeaders[] = [];
  const server = createServer(async (request, response) => {
    seen.push(request.headers);
    const ask = (await json(request)) as Ask;
    const answer = request.headers['x-amz-target'] === 'TrentService.Encrypt' ? encrypt(ask) : decrypt(ask);
    const error = refuse ?? (answer === undefined ? 'InvalidCiphertextException' : undefined);
    response.writeHead(error === undefined ? 200 : 400, { 'Content-Type': 'application/x-amz-json-1.1' });
    response.end(
      JSON.stringify(error === undefined ? answer : { __type: error, message: 'arn:aws:iam::1:user/someone' }),
    );
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

before(() => {
  // As the SDK finds them; made up for this process.
  process.env.AWS_ACCESS_KEY_ID = 'AKIATEST';
  process.env.AWS_SECRET_ACCESS_KEY = randomBytes(20).toString('hex');
});

const secret = randomBytes(32);
const kekAt = (endpoint: string, keyId = 'alias/doorward') => awsKmsKek({ keyId, region: 'eu-west-1', endpoint });

test('KMS wraps and unwraps a data key, each call signed (SigV4)', async () => {
  await using kms = await startKms();
  const kek = await kekAt(kms.endpoint);
  const wrapped = await kek.wrap(secret, 'dk1');
  assert.ok(!wrapped.includes(secret));
  assert.deepEqual(await kek.unwrap(wrapped, 'dk1'), secret);
  assert.equal(kms.seen.length, 2);
  for (const { authorization } of kms.seen) {
    assert.match(String(authorization), /^AWS4-HMAC-SHA256 Credential=AKIATEST\/\d{8}\/eu-west-1\/kms\/aws4_request, /);
  }
  assert.equal(kek.id, 'aws_kms:alias/doorward');
});

test('what KMS wrapped for one data key, or with another KMS key, does not unwrap for another', async () => {
  await using kms = await startKms();
  const kek = await kekAt(kms.endpoint);
  const wrapped = await kek.wrap(secret, 'dk1');
  assert.equal(await kek.unwrap(wrapped, 'dk2'), undefined);
  assert.equal(await (await kekAt(kms.endpoint, 'alias/other')).unwrap(wrapped, 'dk1'), undefined);
});

test('KMS that refuses for good is a misconfiguration, without the words of AWS', async () => {
  await using kms = await startKms('AccessDeniedException');
  const kek = await kekAt(kms.endpoint);
  const expected = {
    kind: 'misconfigured',
    message: 'AWS KMS refused: AccessDeniedException; look at sealing.kek.aws_kms and its permissions',
  };
  await assert.rejects(kek.wrap(secret, 'dk1'), expected);
  await assert.rejects(kek.unwrap(secret, 'dk1'), expected);
});

test('KMS that is away is store_unavailable, so that a start goes on trying', async () => {
  const kms = await startKms();
  const kek = await kekAt(kms.endpoint);
  await kms[Symbol.asyncDispose]();
  await assert.rejects(kek.wrap(secret, 'dk1'), { kind: 'store_unavailable' });
  await assert.rejects(kek.unwrap(secret, 'dk1'), { kind: 'store_unavailable' });
});
