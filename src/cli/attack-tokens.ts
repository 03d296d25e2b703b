// Attacks on tokens: those that are made of an accepted one without any key, and, where the keys are ours, well signed ones that
// break one rule each.
import { createHmac } from 'node:crypto';
import type { Attack } from './attack-list.ts';
import { type AttackTarget, type Forge, head, withToken } from './attack-target.ts';

const encode = (value: unknown) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const decode = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>;

/** An attack of tokens by what is wrong with each. */
function tokens(id: number, name: string, make: (target: AttackTarget) => Readonly<Record<string, string>>): Attack {
  return {
    id,
    name,
    wants: 'refused',
    shots: (target) => Object.entries(make(target)).map(([what, token]) => ({ what, bytes: withToken(target, token) })),
  };
}

/** Needs an accepted token only. */
const tampered = (
  id: number,
  name: string,
  make: (parts: { h: string; p: string; s: string; header: Record<string, unknown> }) => Record<string, string>,
) =>
  tokens(id, name, ({ token }) => {
    const [h, p, s] = (token ?? unsigned).split('.') as [string, string, string];
    return make({ h, p, s, header: decode(h) });
  });

/** Needs the keys. */
const forged = (id: number, name: string, make: (forge: Forge, nowSeconds: number) => Record<string, string>) =>
  tokens(id, name, ({ forge, token }) => {
    if (forge === undefined || token === undefined) return {};
    // The time that the token was made at, so that no clock is asked here.
    return make(forge, decode(token.split('.')[1] as string).iat as number);
  });

/** What is tampered with where no token is known: nobody has signed it. */
const unsigned = `${encode({ alg: 'ES256', typ: 'at+jwt', kid: 'k1' })}.${encode({ sub: 'admin', aud: 'api', exp: 4_000_000_000 })}.${'A'.repeat(86)}`;

const flip = (text: string) => `${text.startsWith('A') ? 'B' : 'A'}${text.slice(1)}`;

/** HS256 over the token's own parts with text that everybody knows. */
const hmacked = (h: string, p: string, secret: string) =>
  `${h}.${p}.${createHmac('sha256', secret).update(`${h}.${p}`).digest('base64url')}`;

/** The attacks. */
export const tokenAttacks: readonly Attack[] = [
  tampered(57, 'alg none', ({ p, s, header }) =>
    Object.fromEntries(
      ['none', 'None', 'nOnE', ''].flatMap((alg) => [
        [`alg ${alg || 'empty'}, no signature`, `${encode({ ...header, alg })}.${p}.`],
        [`alg ${alg || 'empty'}, old signature`, `${encode({ ...header, alg })}.${p}.${s}`],
      ]),
    ),
  ),
  tokens(58, 'HS256 with what is public as the secret', ({ token, forge }) => {
    const [h, p] = (token ?? unsigned).split('.') as [string, string];
    const header = encode({ ...decode(h), alg: 'HS256' });
    const secrets: Record<string, string> = { 'an empty secret': '', secret: 'secret' };
    if (forge?.publicPem !== undefined) {
      secrets['the public key in PEM'] = forge.publicPem;
      secrets['the public key, trimmed'] = forge.publicPem.trim();
      secrets['the public JWK'] = JSON.stringify(forge.publicJwk);
    }
    return Object.fromEntries(Object.entries(secrets).map(([what, secret]) => [what, hmacked(header, p, secret)]));
  }),
  forged(60, 'a key that the token names itself', (forge) => ({
    jwk: forge.stranger({ jwk: forge.strangerJwk }),
    jku: forge.stranger({ jku: 'http://127.0.0.1:9/jwks' }),
    x5u: forge.stranger({ x5u: 'http://127.0.0.1:9/cert' }),
  })),
  forged(61, 'crit and b64', (forge) => ({
    'unknown crit': forge.good({}, { crit: ['x'], x: 1 }),
    'empty crit': forge.good({}, { crit: [] }),
    b64: forge.good({}, { crit: ['b64'], b64: false }),
  })),
  tampered(62, 'kid that is a path, a query or huge', ({ p, s, header }) =>
    Object.fromEntries(
      ['../../dev/null', "' OR 1=1 --", 'a'.repeat(4000), ['a']].map((kid, at) => [
        `kid ${at + 1}`,
        `${encode({ ...header, kid })}.${p}.${s}`,
      ]),
    ),
  ),
  forged(63, 'the signature of another key', (forge) => ({ 'another key': forge.stranger() })),
  forged(64, 'another issuer', (forge) => {
    const { iss } = decode(forge.good().split('.')[1] as string) as { iss: string };
    return {
      'in a list': forge.good({ iss: [iss] }),
      'one letter more': forge.good({ iss: `${iss}x` }),
      'trailing slash': forge.good({ iss: iss.endsWith('/') ? iss.slice(0, -1) : `${iss}/` }),
      'upper case': forge.good({ iss: iss.toUpperCase() }),
      none: forge.good({ iss: undefined }),
    };
  }),
  forged(66, 'another audience, or an ID token', (forge) => ({
    'another audience': forge.good({ [forge.audienceClaim]: 'doorward-attack' }),
    'no audience': forge.good({ [forge.audienceClaim]: undefined }),
    'an ID token': forge.good({}, { typ: 'ID' }),
    'a nonce': forge.good({ nonce: 'x' }, { typ: 'JWT' }),
    'a logout token': forge.good({}, { typ: 'logout+jwt' }),
  })),
  forged(68, 'times', (forge, now) => ({
    expired: forge.good({ exp: now - 86_400, iat: now - 86_500 }),
    'no exp': forge.good({ exp: undefined }),
    'exp as text': forge.good({ exp: String(now + 100) }),
    'exp of a thousand years': forge.good({ exp: now + 31_536_000_000 }),
    'issued tomorrow': forge.good({ iat: now + 86_400, exp: now + 86_500 }),
    'not before tomorrow': forge.good({ nbf: now + 86_400 }),
  })),
  forged(69, 'JSON that two parsers read differently', (forge) => {
    const [h, p] = forge
      .good()
      .split('.')
      .map((part) => Buffer.from(part, 'base64url').toString()) as [string, string];
    return {
      'a claim twice': forge.sign(h, p.replace('{', '{"iss":"x",')),
      'a byte order mark': forge.sign(h, `\ufeff${p}`),
      'a header member twice': forge.sign(h.replace('{', '{"alg":"none",'), p),
      'something behind it': forge.sign(h, `${p} {}`),
    };
  }),
  tampered(70, 'what is no compact JWS', ({ h, p, s }) => ({
    'two parts': `${h}.${p}`,
    'one part': h,
    'four parts': `${h}.${p}.${s}.x`,
    'five parts': `${h}..${p}.${s}.x`,
    padding: `${h}.${p}.${s}==`,
  })),
  tampered(71, 'signatures of zeros, in DER, cut short', ({ h, p, s }) => ({
    zeros: `${h}.${p}.${Buffer.alloc(64).toString('base64url')}`,
    DER: `${h}.${p}.${Buffer.from(`3044${'02'.repeat(68)}`, 'hex').toString('base64url')}`,
    short: `${h}.${p}.${s.slice(0, 40)}`,
  })),
  tampered(72, 'a changed token', ({ h, p, s }) => ({
    'flipped signature': `${h}.${p}.${flip(s)}`,
    'flipped payload': `${h}.${flip(p)}.${s}`,
    'another subject': `${h}.${encode({ ...decode(p), sub: 'admin', roles: ['admin'] })}.${s}`,
    'not base64url': `${h}.${p}.~~~~`,
  })),
  {
    id: 74,
    name: 'a token in a query that is not listed',
    wants: 'refused',
    shots: (target) => {
      const { token, anonymous, method, path, show } = target;
      if (token === undefined || anonymous || show(token).query !== undefined) return [];
      const bytes = head(target, `${method} ${path}?access_token=${token}`);
      return [{ what: 'access_token', bytes }];
    },
  },
];
