// A key-encryption key in AWS KMS: data keys go there to be wrapped and unwrapped, the key itself never leaves. The package
// is optional and loaded only when configured; credentials are found as the AWS SDK finds them.
import type { KMSClient } from '@aws-sdk/client-kms';
import { storeUnavailable } from '../core/errors.ts';
import type { Kek } from './kek.ts';
import { kekRefused } from './refusals.ts';

/** Which key, and where. */
export interface AwsKmsSettings {
  /** Id, ARN or alias. */
  readonly keyId: string;
  readonly region: string;
  readonly endpoint?: string | undefined;
}

const TIMEOUT_MS = 5000;
/** Answers that say "not by this key, not for this context, or changed". */
const REFUSED = new Set(['InvalidCiphertextException', 'IncorrectKeyException']);
/** Answers that only another configuration can mend. */
const MISCONFIGURED = new Set([
  'AccessDeniedException',
  'NotFoundException',
  'DisabledException',
  'InvalidKeyUsageException',
  'KMSInvalidStateException',
  'UnrecognizedClientException',
  'InvalidSignatureException',
  'ValidationException',
  'CredentialsProviderError',
]);

/** Opens it; KMS is not asked yet. Rejects with `misconfigured` when the package is not installed. */
export async function awsKmsKek({ keyId, region, endpoint }: AwsKmsSettings): Promise<Kek> {
  const { KMSClient, EncryptCommand, DecryptCommand } = await loadPackage();
  const client: KMSClient = new KMSClient({ region, maxAttempts: 2, ...(endpoint !== undefined && { endpoint }) });
  // Bound to what is wrapped, so that no wrapped key works in another's place, and seen in CloudTrail.
  const contextOf = (context: string) => ({ EncryptionContext: { doorward: context }, KeyId: keyId });
  return {
    id: `aws_kms:${keyId}`,
    async wrap(secret, context) {
      const command = new EncryptCommand({ ...contextOf(context), Plaintext: secret });
      const { CiphertextBlob } = await asked(client.send(command, limits()));
      if (CiphertextBlob === undefined) throw storeUnavailable('AWS KMS gave no ciphertext');
      return Buffer.from(CiphertextBlob);
    },
    async unwrap(wrapped, context) {
      try {
        const command = new DecryptCommand({ ...contextOf(context), CiphertextBlob: wrapped });
        const { Plaintext } = await client.send(command, limits());
        return Plaintext && Buffer.from(Plaintext);
      } catch (error) {
        if (REFUSED.has(nameOf(error))) return undefined;
        throw kmsError(error);
      }
    },
  };
}

const limits = () => ({ abortSignal: AbortSignal.timeout(TIMEOUT_MS) });
const nameOf = (error: unknown) => (error instanceof Error ? error.name : '');

async function asked<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    throw kmsError(error);
  }
}

/** Without the message of AWS, which may quote accounts and identities. */
function kmsError(error: unknown): Error {
  const name = nameOf(error);
  if (MISCONFIGURED.has(name))
    return kekRefused(`AWS KMS refused: ${name}; look at sealing.kek.aws_kms and its permissions`);
  return storeUnavailable(`AWS KMS did not answer (${name || 'no reason'})`);
}

async function loadPackage(): Promise<typeof import('@aws-sdk/client-kms')> {
  try {
    return await import('@aws-sdk/client-kms');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw cause;
    throw kekRefused('sealing.kek.aws_kms needs the package @aws-sdk/client-kms: npm install @aws-sdk/client-kms', {
      cause,
    });
  }
}
