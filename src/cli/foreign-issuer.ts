// Finds out how a foreign issuer's tokens look, and writes the issuer block that accepts them: metadata and keys from the
// network, the rest from a sample token. Every deviation from the defaults becomes a note, because each is a decision.
import { Agent } from 'undici';
import { stringify } from 'yaml';
import { systemClock } from '../core/clock.ts';
import { SidecarError } from '../core/errors.ts';
import { formatDuration } from '../core/units.ts';
import { metadataUrl } from '../token/discovery.ts';
import { FetchFailure, fetchDocument } from '../token/fetch-document.ts';
import { type ParsedToken, parseAccessToken } from '../token/parse.ts';
import { CliError } from './exit-codes.ts';
import { claimsBlock, lifetimeMs } from './sample-claims.ts';
import { tryBlock } from './try-block.ts';

/** What was found out. */
export interface ExaminedIssuer {
  /** YAML below `issuers:`, indented, ending in a newline. */
  readonly block: string;
  /** What differs from what one would expect, in sentences. */
  readonly notes: readonly string[];
}

/** One issuer block as it will be written. */
export type IssuerBlock = Record<string, unknown>;

const TIMEOUT_MS = 10_000;
const DEFAULT_LIFETIME_MS = 24 * 3_600_000;
const DEFAULT_ALGORITHMS = ['ES256', 'RS256', 'EdDSA'];

/** Examines the issuer at `url`. Throws CliError when it cannot be reached or the sample is no token. */
export async function examineIssuer(url: string, sample: string | undefined): Promise<ExaminedIssuer> {
  const metadata = await fetchMetadata(url);
  const notes: string[] = [];
  const parsed = sample === undefined ? undefined : parseSample(sample);
  const block = { ...identityOf(url, metadata, parsed, notes), ...shapeOf(parsed, notes) };
  if (parsed === undefined)
    notes.push('without a sample token, audience, types and claims are guesses: see --token-file');
  else notes.push(await verdictOf(block, sample as string, parsed));
  const name = blockName(block.issuer as string);
  const yaml = stringify({ [name]: block }, { lineWidth: 0 });
  return { block: yaml.replace(/^(?=.)/gm, '  '), notes };
}

async function fetchMetadata(url: string): Promise<Readonly<Record<string, unknown>>> {
  const agent = new Agent();
  try {
    return await fetchDocument(metadataUrl(url), agent, AbortSignal.timeout(TIMEOUT_MS));
  } catch (cause) {
    if (!(cause instanceof FetchFailure)) throw cause;
    throw new CliError('failure', `the metadata of ${url} cannot be read: ${cause.message}`, { cause });
  } finally {
    await agent.destroy();
  }
}

function parseSample(sample: string): ParsedToken {
  try {
    return parseAccessToken(sample);
  } catch (cause) {
    const why = cause instanceof SidecarError ? cause.message : 'unreadable';
    throw new CliError('usage', `the sample is no signed access token: ${why}`, { cause });
  }
}

/** `iss` must match byte for byte, in the tokens and in the metadata: a slash too many is the most usual mistake. */
function identityOf(
  url: string,
  metadata: Readonly<Record<string, unknown>>,
  parsed: ParsedToken | undefined,
  notes: string[],
): IssuerBlock {
  const iss = parsed?.claims.iss ?? metadata.issuer;
  if (typeof iss !== 'string' || iss === '') throw new CliError('failure', 'neither token nor metadata name an issuer');
  if (iss !== url)
    notes.push(`iss is ${JSON.stringify(iss)}, not ${JSON.stringify(url)}: the block has what tokens say`);
  if (metadata.issuer === iss) return { issuer: iss };
  notes.push('the metadata names another issuer than the token: keys are taken from its jwks_uri instead of discovery');
  if (typeof metadata.jwks_uri !== 'string') throw new CliError('failure', 'the metadata names no jwks_uri');
  return { issuer: iss, keys: { url: metadata.jwks_uri } };
}

function shapeOf(parsed: ParsedToken | undefined, notes: string[]): IssuerBlock {
  if (parsed === undefined) return { audience: ['api'] };
  const { header, claims } = parsed;
  return {
    ...audienceOf(claims, notes),
    ...typesOf(header, claims, notes),
    ...algorithmsOf(header, notes),
    ...lifetimeOf(claims, notes),
    ...claimsBlock(claims, notes),
  };
}

function audienceOf(claims: ParsedToken['claims'], notes: string[]): IssuerBlock {
  const aud = typeof claims.aud === 'string' ? [claims.aud] : claims.aud;
  if (Array.isArray(aud) && aud.length > 0) {
    if (aud.length > 1) notes.push(`aud has ${aud.length} values: keep only the one that means this application`);
    return { audience: aud };
  }
  const claim = ['client_id', 'azp', 'appid', 'cid'].find((name) => typeof claims[name] === 'string');
  if (claim === undefined) throw new CliError('failure', 'the sample has no aud and no client: nothing ties it to us');
  notes.push(`aud is absent: ${claim} is checked instead (audience_claim)`);
  return { audience: [claims[claim]], audience_claim: claim };
}

function typesOf(header: ParsedToken['header'], claims: ParsedToken['claims'], notes: string[]): IssuerBlock {
  if ('nonce' in claims || 'at_hash' in claims) notes.push('this is an ID token: it is refused; send an access token');
  if (header.typ === undefined) {
    notes.push('typ is absent: any JWT of this issuer passes as an access token, so audience must tell them apart');
    return { types: ['absent'] };
  }
  const typ = String(header.typ)
    .toLowerCase()
    .replace(/^application\//, '');
  if (typ === 'at+jwt') return { types: ['at+jwt'] };
  if (typ === 'jwt') return { types: ['JWT'] };
  notes.push('typ is neither at+jwt nor JWT: such tokens are refused');
  return {};
}

function algorithmsOf(header: ParsedToken['header'], notes: string[]): IssuerBlock {
  const alg = String(header.alg);
  if (alg.startsWith('HS')) {
    notes.push(`${alg}: the key is a shared secret, with which we could forge tokens; give it in ISSUER_SECRET`);
    return { algorithms: [alg], keys: { secret: { env: 'ISSUER_SECRET' } } };
  }
  if (!DEFAULT_ALGORITHMS.includes(alg)) notes.push(`alg is ${alg}, which is not among the defaults`);
  return { algorithms: [alg] };
}

function lifetimeOf(claims: ParsedToken['claims'], notes: string[]): IssuerBlock {
  const lifetime = lifetimeMs(claims);
  if (lifetime === undefined) notes.push('exp or iat is missing: the lifetime is counted from when we see the token');
  if (lifetime === undefined || lifetime <= DEFAULT_LIFETIME_MS) return {};
  const text = formatDuration(lifetime);
  notes.push(`tokens live ${text}, above the default of 24h: a leaked one is good for that long`);
  return { max_lifetime: text };
}

async function verdictOf(block: IssuerBlock, sample: string, parsed: ParsedToken): Promise<string> {
  const verdict = await tryBlock(block, sample, systemClock, issuedAtMs(parsed));
  if (verdict === 'ok') return 'the sample token is accepted by this block';
  return `the sample token is refused by this block: ${verdict}`;
}

function issuedAtMs({ claims }: ParsedToken): number | undefined {
  return typeof claims.iat === 'number' ? claims.iat * 1000 : undefined;
}

function blockName(iss: string): string {
  const host = URL.parse(iss)?.hostname ?? 'issuer';
  const name = host
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/^_+|_+$/g, '');
  return /^[a-z]/.test(name) ? name : `issuer_${name}`;
}
