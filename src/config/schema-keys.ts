// Settings of keys: how our own issuer signs, what seals secrets at rest, what makes published documents believed. Part of
// schema.ts, which alone is the schema.
import { z } from 'zod';
import { doc, duration, secret } from './fields.ts';

/** `issuers.*.sign`. */
export const sign = z.strictObject({
  algorithm: z.enum(['ES256', 'RS256', 'EdDSA']).prefault('ES256').meta(doc('Algorithm of our signing key.')),
  lifetime: duration({ span: true })
    .prefault('15m')
    .meta(doc('Lifetime of issued access tokens unless asked shorter.')),
  key: secret()
    .optional()
    .meta(
      doc(
        'PKCS8 PEM of a signing key that never rotates. Default: in PostgreSQL, sealed and rotated; without postgres made in state_dir, and required once redis is set.',
      ),
    ),
  publish_before: duration({ span: true, zero: true })
    .prefault('2h')
    .meta(doc('How long a new key is published before it signs; longer than anybody may cache the key set.')),
  rotate_every: duration({ span: true })
    .prefault('90d')
    .meta(doc('How long a key signs before the next one takes over (keys in PostgreSQL).')),
});

const kek = z.strictObject({
  key: secret()
    .optional()
    .meta(doc('32 random bytes in base64, base64url or hex, such as `openssl rand -base64 32` makes.', 'restart')),
  passphrase: secret().optional().meta(doc('At least 16 characters, stretched with scrypt.', 'restart')),
  aws_kms: z
    .strictObject({
      key_id: z.string().min(1).meta(doc('Id, ARN or alias of the KMS key.', 'restart')),
      region: z.string().min(1).meta(doc('AWS region of the key.', 'restart')),
      endpoint: z
        .url({ protocol: /^https?$/, error: 'needs an http:// or https:// URL' })
        .optional()
        .meta(doc('Another endpoint, such as that of a VPC.', 'restart')),
    })
    .optional()
    .meta(
      doc('A key in AWS KMS; credentials as the AWS SDK finds them; needs the package @aws-sdk/client-kms.', 'restart'),
    ),
});

/** `sealing`. */
export const sealing = z.strictObject({
  kek: kek
    .optional()
    .meta(
      doc(
        'Key-encryption key: wraps the data keys that secrets in PostgreSQL are sealed under. One of its forms.',
        'restart',
      ),
    ),
  previous_kek: kek
    .optional()
    .meta(doc('The one before, while a start moves all data keys to `kek`; remove it afterwards.', 'restart')),
  rotate_after: duration({ span: true })
    .prefault('90d')
    .meta(doc('Age at which a new data key takes over.', 'restart')),
  rotate_seals: z
    .int()
    .min(1)
    .max(4_294_967_296)
    .prefault(1_000_000)
    .meta(doc('Sealed fields after which a new data key takes over.', 'restart')),
});

/** `control_plane`. */
export const controlPlane = z.strictObject({
  public_key: secret()
    .optional()
    .meta(
      doc(
        'PEM of the Ed25519 key whose published documents (key sets, client records) this replica believes.',
        'restart',
      ),
    ),
  previous_public_key: secret().optional().meta(doc('Believed too, while the publishing key changes.', 'restart')),
  signing_key: secret()
    .optional()
    .meta(doc('PEM of the private half, on replicas that publish; `doorward key publishing` makes both.', 'restart')),
});

/** One form of a key-encryption key, as configured. */
export type KekConfig = z.output<typeof kek>;
