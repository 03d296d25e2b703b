// Runs the JWS rows of Project Wycheproof and of the JOSE cookbook against key import, parser, header rules and signature
// (claims are not theirs). What we judge differently stands in accepted-deviations.json with the reason; an unlisted
// deviation fails, and so does a listed one that no longer deviates.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { SidecarError } from '../../src/core/errors.ts';
import { acceptHeader } from '../../src/token/header.ts';
import { KeySet, readKeySet } from '../../src/token/key-set.ts';
import { parseCompactJws } from '../../src/token/parse.ts';
import { rulesOf } from '../../src/token/rules.ts';
import { verifySignature } from '../../src/token/signature.ts';
import { keyFromSecret } from '../../src/token/verification-key.ts';
import { issuerConfig } from '../support/minting.ts';

type Json = Readonly<Record<string, unknown>>;

interface Row {
  readonly id: string;
  readonly input: { readonly kind: string; readonly jws?: unknown; readonly vector?: Json } & {
    readonly key_public?: Json;
    readonly key_private?: Json;
  };
  readonly expect: { readonly result: 'valid' | 'invalid' | 'key' };
}

const folder = new URL('../../../shared/corpora/', import.meta.url);
const asymmetric = ['ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'EdDSA'];
const allowed = new Set(asymmetric);

/** A lone `oct` JWK, which an issuer block would hold as `keys.secret`. */
function secretOf(jwk: Json): Json | undefined {
  const [only, ...others] = (jwk.keys as readonly Json[] | undefined) ?? [jwk];
  return others.length === 0 && only?.kty === 'oct' ? only : undefined;
}

/** The keys as an issuer block would hold them. */
function keySet(jwk: Json): KeySet {
  const secret = secretOf(jwk);
  if (secret === undefined)
    return readKeySet(Array.isArray(jwk.keys) ? jwk : { keys: [jwk] }, allowed) ?? new KeySet([]);
  return new KeySet([keyFromSecret(Buffer.from(String(secret.k), 'base64url'), new Set([String(secret.alg)]))]);
}

async function accepts(token: string, jwk: Json): Promise<boolean> {
  try {
    const keys = keySet(jwk);
    const algorithms = new Set(keys.keys.flatMap((key) => key.algorithms));
    const rules = { ...rulesOf('row', issuerConfig({ issuer: 'x', types: ['absent', 'JWT', 'at+jwt'] })), algorithms };
    const jws = parseCompactJws(token);
    const { algorithm, kid } = acceptHeader(jws.header, rules);
    const found = keys.find(secretOf(jwk) ? undefined : kid, algorithm);
    await verifySignature(jws, algorithm, found);
    return true;
  } catch (error) {
    assert.ok(error instanceof SidecarError, `not a SidecarError: ${error}`);
    return false;
  }
}

/** A cookbook row: the compact form where there is one, else the JSON serialisation as a client would send it. */
function cookbookToken(vector: Json): string {
  const output = vector.output as Json;
  return typeof output.compact === 'string' ? output.compact : JSON.stringify(output.json ?? output.json_flat);
}

async function agrees({ input, expect }: Row): Promise<boolean> {
  if (input.kind === 'jwk') {
    try {
      return keySet(input.vector as Json).keys.length === 1;
    } catch (error) {
      assert.ok(error instanceof SidecarError);
      return false;
    }
  }
  const vector = input.vector;
  const given = vector ? cookbookToken(vector) : input.jws;
  const token = typeof given === 'string' ? given : JSON.stringify(given);
  const listed = vector && (vector.input as Json).key;
  const key = Array.isArray(listed) ? { keys: listed } : (listed ?? input.key_public ?? input.key_private);
  return (await accepts(token, key as Json)) === (expect.result === 'valid');
}

const rowsOf = (corpus: string) =>
  (JSON.parse(readFileSync(new URL(`${corpus}/cases.json`, folder), 'utf8')) as Row[]).filter(
    ({ input }) => input.kind === 'jws' || input.kind === 'jwk',
  );

if (existsSync(folder)) {
  test('every JWS row of Wycheproof and of the JOSE cookbook is judged as expected, or argued', async () => {
    const deviations = new Set<string>();
    const rows = [...rowsOf('jose-wycheproof'), ...rowsOf('jose-cookbook')];
    for (const row of rows) if (!(await agrees(row))) deviations.add(row.id);
    const file = new URL('accepted-deviations.json', import.meta.url);
    const accepted = (JSON.parse(readFileSync(file, 'utf8')) as { jose: Record<string, string> }).jose;
    assert.deepEqual([...deviations].sort(), Object.keys(accepted).sort());
    assert.ok(rows.length > 400, `${rows.length} rows`);
  });
} else {
  test('the corpora are not beside this repository (../shared/corpora), so none was run', () => {});
}
