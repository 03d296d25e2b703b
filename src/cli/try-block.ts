// Tries a sample token against a generated issuer block, with the issuer's real keys. An expired sample is judged as of the
// moment it was issued: its shape is what matters.
import { sidecarSchema } from '../config/schema.ts';
import type { Clock } from '../core/clock.ts';
import { SidecarError } from '../core/errors.ts';
import { openIssuer } from '../token/issuers.ts';
import { createVerifier } from '../token/verify.ts';

/** `ok`, or the reason for which the token is refused. */
export async function tryBlock(
  block: Readonly<Record<string, unknown>>,
  token: string,
  clock: Clock,
  issuedAtMs: number | undefined,
): Promise<string> {
  const parsed = sidecarSchema.safeParse({
    version: 1,
    upstreams: { app: { url: 'http://127.0.0.1:1' } },
    issuers: { sample: block },
    routes: { all: { match: { prefix: '/' } } },
  });
  const config = parsed.success ? parsed.data.issuers.sample : undefined;
  if (config === undefined) return 'its values are none that an issuer block can hold';
  const then: Clock = issuedAtMs === undefined ? clock : { ...clock, nowMs: () => issuedAtMs };
  await using issuer = openIssuer('sample', config, {
    secrets: () => '',
    readFile: () => '',
    clock: then,
  });
  using verifier = createVerifier({ issuers: new Map([['sample', issuer]]), clock: then });
  try {
    await verifier.verify(token, ['sample']);
    return 'ok';
  } catch (error) {
    if (error instanceof SidecarError) return `${error.reason} (${error.message})`;
    throw error;
  }
}
