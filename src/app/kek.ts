// Opens the key-encryption key that a configuration names. With an embedded PostgreSQL and no configuration one is made in
// state_dir, next to what it protects: good for trying out, and said so.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LoadedConfig } from '../config/loaded.ts';
import type { KekConfig } from '../config/schema-keys.ts';
import { randomSecret } from '../core/ids.ts';
import { createPrivateFile } from '../core/private-file.ts';
import { type Kek, kekBytes, localKek } from '../keys/kek.ts';
import { passphraseKek } from '../keys/kek-passphrase.ts';

/** The KEK in force, and the one before when it is being replaced. */
export interface Keks {
  readonly kek: Kek;
  readonly previousKek: Kek | undefined;
}

/** Opens both. Throws `misconfigured` for one that cannot be used; a remote one is not asked yet. */
export async function openKeks({ config, secrets }: LoadedConfig, stateDir: string): Promise<Keks> {
  const { kek, previous_kek: previous } = config.sealing ?? {};
  return {
    kek: kek === undefined ? embeddedKek(stateDir) : await openKek(kek, secrets, 'sealing.kek'),
    previousKek: previous && (await openKek(previous, secrets, 'sealing.previous_kek')),
  };
}

async function openKek(config: KekConfig, secrets: LoadedConfig['secrets'], at: string): Promise<Kek> {
  if (config.key !== undefined) return localKek(kekBytes(secrets.get(config.key), `${at}.key`));
  if (config.passphrase !== undefined) return passphraseKek(secrets.get(config.passphrase));
  if (config.aws_kms === undefined) throw new TypeError('a checked configuration has one form of KEK');
  const { awsKmsKek } = await import('../keys/kek-aws.ts');
  const { key_id: keyId, region, endpoint } = config.aws_kms;
  return awsKmsKek({ keyId, region, endpoint });
}

function embeddedKek(stateDir: string): Kek {
  const file = join(stateDir, 'kek');
  createPrivateFile(file, `${randomSecret()}\n`);
  return localKek(kekBytes(readFileSync(file, 'utf8'), file));
}
