// Shared by the token tests: a verifier over one issuer with inline keys, and what it says of a token in one word.
import assert from 'node:assert/strict';
import { SidecarError } from '../../src/core/errors.ts';
import { type Issuer, openIssuer } from '../../src/token/issuers.ts';
import type { VerifiedToken } from '../../src/token/verified-token.ts';
import { createVerifier, type Verifier } from '../../src/token/verify.ts';
import { ManualClock } from '../support/manual-clock.ts';
import {
  type IssuerInput,
  issuerConfig,
  type MintChanges,
  type MintKey,
  mintKey,
  mintToken,
} from '../support/minting.ts';

export const ISSUER = 'https://id.example.com/';
export const es256 = mintKey('ES256');
export const rs256 = mintKey('RS256');

export interface Setup {
  readonly clock: ManualClock;
  readonly issuer: Issuer;
  readonly verifier: Verifier;
  /** A good token with changes. */
  mint(changes?: MintChanges, key?: MintKey): string;
  /** The reason of refusal, or `ok`. */
  say(token: string): Promise<string>;
}

export async function reasonOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'ok';
  } catch (error) {
    assert.ok(error instanceof SidecarError, `not a SidecarError: ${error}`);
    return error.reason;
  }
}

export function refuseNetwork(): string {
  throw new Error('must not be read');
}

export function setup(input: Partial<IssuerInput> = {}, secret = ''): Setup {
  const clock = new ManualClock();
  const config = issuerConfig({ issuer: ISSUER, keys: { inline: { keys: [es256.jwk, rs256.jwk] } }, ...input });
  const issuer = openIssuer('corp', config, { secrets: () => secret, readFile: refuseNetwork, clock });
  const verifier = createVerifier({ issuers: new Map([['corp', issuer]]), clock });
  return {
    clock,
    issuer,
    verifier,
    mint: (changes = {}, key = es256) => mintToken(key, ISSUER, clock.nowMs(), changes),
    say: (token) => reasonOf(verifier.verify(token, ['corp'])),
  };
}

/** The verified token, or a failed test. */
export function verified(found: VerifiedToken | SidecarError | undefined): VerifiedToken {
  assert.ok(found !== undefined && !(found instanceof SidecarError), `not verified: ${String(found)}`);
  return found;
}
