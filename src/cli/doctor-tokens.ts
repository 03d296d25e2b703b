// Checks of `doorward doctor` that do what clients do, with a temporary client: register, codes, tokens, refresh, refusals,
// revocation, a limit. Nothing of it touches anybody else; what was made is removed at the end.
import { createHash, randomBytes } from 'node:crypto';
import { CheckSkipped, type DoctorCheck, type DoctorWorld, expect, type ProxyAnswer } from './doctor-world.ts';

const REDIRECT = 'https://doctor.invalid/callback';
const NAME = 'doorward-doctor';

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const ownLimitOf = async (world: DoctorWorld) => {
  const { limits = {} } = await world.config();
  const route = await world.route();
  return route.limits.find((name) => limits[name]?.key === 'client' && limits[name]?.mode !== 'shadow');
};

/** The scopes of the client: those of the route, under a tier that allows them. */
async function registration(world: DoctorWorld) {
  const route = await world.route().catch(() => undefined);
  const { tiers = {} } = await world.config();
  const scopes = route?.scopes ?? [];
  const tier = Object.entries(tiers).find(([, allowed]) =>
    scopes.every((scope) => allowed.scopes.includes(scope)),
  )?.[0];
  const limit = route && (await ownLimitOf(world));
  const grant_types = ['client_credentials', 'authorization_code', 'refresh_token'];
  return {
    scopes,
    body: {
      ...{ name: NAME, issuer: (await world.issuer()).name, grant_types, redirect_uris: [REDIRECT], scopes },
      ...(tier && { tier }),
      // Above what the other checks use, so that only the last one meets it.
      ...(limit && { limits: { [limit]: '20/1m' } }),
    },
  };
}

const countClients = async (world: DoctorWorld): Promise<number> => {
  const { clients } = (await world.ask('GET', '/v1/statistics')) as { clients: { clients: number }[] };
  return clients.reduce((sum, row) => sum + row.clients, 0);
};

async function endpoints(world: DoctorWorld) {
  const { url } = await world.issuer();
  const answer = await world.get('/.well-known/oauth-authorization-server', {}, new URL(url).host);
  expect(answer.status === 200 && answer.json?.issuer === url, `metadata of ${url}: ${answer.status}`);
  return answer.json as { token_endpoint: string; revocation_endpoint: string; jwks_uri: string };
}

function expectError(answer: ProxyAnswer, status: number, error: string): void {
  const got = `${answer.status} ${answer.json?.error ?? ''}`.trim();
  expect(answer.status === status && answer.json?.error === error, `answered ${got} instead of ${status} ${error}`);
}

async function token(world: DoctorWorld, form: Readonly<Record<string, string>>, scopes = world.registered().scopes) {
  const { token_endpoint } = await endpoints(world);
  const scope = scopes.length === 0 ? {} : { scope: scopes.join(' ') };
  const answer = await world.post(token_endpoint, { ...form, ...scope }, world.registered());
  expect(answer.status === 200, `the token endpoint answered ${answer.status} ${answer.json?.error ?? ''}`);
  return answer.json as { access_token: string; refresh_token?: string };
}

async function mintCode(world: DoctorWorld, redirect = REDIRECT) {
  const verifier = randomBytes(32).toString('base64url');
  const code_challenge = createHash('sha256').update(verifier).digest('base64url');
  const { id, scopes } = world.registered();
  const answer = await world.admin('POST', '/v1/codes', {
    ...{ client_id: id, redirect_uri: redirect, subject: NAME, code_challenge, code_challenge_method: 'S256', scopes },
  });
  return { answer, verifier, code: (answer.json as { code?: string } | undefined)?.code };
}

async function redeem(world: DoctorWorld, code: string, verifier: string): Promise<ProxyAnswer> {
  const { token_endpoint } = await endpoints(world);
  const form = { grant_type: 'authorization_code', code, redirect_uri: REDIRECT, code_verifier: verifier };
  return world.post(token_endpoint, form, world.registered());
}

const REFUSED = new Set([401, 403, 429]);
const refusedByUs = ({ status, code }: ProxyAnswer) => code !== undefined && REFUSED.has(status);

/** In this order: each rests on what those before it made. */
export const tokenChecks: readonly DoctorCheck[] = [
  {
    name: 'a client registers, and the count of clients grows',
    run: async (world) => {
      const { body, scopes } = await registration(world);
      const before = await countClients(world);
      const { status, json, text, requestId } = await world.admin('POST', '/v1/clients', body);
      expect(status === 201, `registering answered ${status} ${text.slice(0, 300)}`);
      const { client_id: id, client_secret: secret } = json as { client_id: string; client_secret: string };
      world.client = { id, secret, scopes, requestId };
      const grew = (await countClients(world)) - before;
      expect(grew >= 1, `the statistics count ${grew} more clients`);
      return id;
    },
  },
  {
    name: 'the client reads back as registered, without its secret',
    run: async (world) => {
      const { id, secret } = world.registered();
      const { status, text, json } = await world.admin('GET', `/v1/clients/${id}`);
      expect(status === 200 && (json as { name?: string }).name === NAME, `reading answered ${status}`);
      expect(!text.includes(secret), 'the answer holds the secret');
      return 'same name, no secret';
    },
  },
  {
    name: 'a token by client_credentials passes a protected route',
    run: async (world) => {
      const route = await world.route();
      world.accessToken = (await token(world, { grant_type: 'client_credentials' })).access_token;
      const url = `${route.host ? `http://${route.host}` : ''}${route.path}`;
      const explained = await world.ask('POST', '/v1/explain', { method: 'GET', url, token: world.accessToken });
      expect(
        explained.allowed && explained.route === route.name,
        `explain says ${explained.reason} on ${explained.route}`,
      );
      const answer = await world.get(route.path, bearer(world.accessToken), route.host);
      expect(answer.code === undefined, `GET ${route.path} answered ${answer.status} ${answer.code}`);
      return `GET ${route.path} answered ${answer.status} by the application`;
    },
  },
  {
    name: 'without a token the route is 401',
    run: async (world) => {
      const route = await world.route();
      const answer = await world.get(route.path, {}, route.host);
      expect(answer.status === 401 && answer.code !== undefined, `GET ${route.path} answered ${answer.status}`);
      return String(answer.code);
    },
  },
  {
    name: 'with the wrong scope the route is 403',
    run: async (world) => {
      const route = await world.route(true);
      const { name } = await world.issuer();
      const { token: other } = await world.ask('POST', '/v1/tokens', {
        ...{ issuer: name, subject: NAME, client: world.registered().id, scopes: ['doctor_none'] },
      });
      const answer = await world.get(route.path, bearer(other), route.host);
      expect(answer.status === 403 && answer.code === 'insufficient_scope', `answered ${answer.status} ${answer.code}`);
      return 'insufficient_scope';
    },
  },
  {
    name: 'a wrong secret is refused',
    run: async (world) => {
      const { token_endpoint } = await endpoints(world);
      const impostor = { ...world.registered(), secret: `${world.registered().secret.slice(0, -4)}AAAA` };
      expectError(
        await world.post(token_endpoint, { grant_type: 'client_credentials' }, impostor),
        401,
        'invalid_client',
      );
      return 'invalid_client';
    },
  },
  {
    name: 'a code for another redirect URI is refused',
    run: async (world) => {
      const { answer } = await mintCode(world, 'https://evil.invalid/callback');
      expect(answer.status === 422, `minting answered ${answer.status}`);
      return 'no code is minted';
    },
  },
  {
    name: 'a code is exchanged, with PKCE',
    run: async (world) => {
      const { answer, code, verifier } = await mintCode(world);
      expect(code !== undefined, `minting answered ${answer.status} ${answer.text.slice(0, 200)}`);
      expectError(await redeem(world, code, 'x'.repeat(43)), 400, 'invalid_grant');
      const fresh = await mintCode(world);
      const redeemed = await redeem(world, fresh.code as string, fresh.verifier);
      expect(redeemed.status === 200, `exchanging answered ${redeemed.status} ${redeemed.json?.error}`);
      expect(typeof redeemed.json.refresh_token === 'string', 'there is no refresh token');
      world.refreshTokens = [redeemed.json.refresh_token];
      return verifier === fresh.verifier ? 'exchanged' : 'wrong verifier refused, right one exchanged';
    },
  },
  {
    name: 'a code that was exchanged is refused',
    run: async (world) => {
      const { code, verifier } = await mintCode(world);
      expect((await redeem(world, code as string, verifier)).status === 200, 'the first exchange failed');
      expectError(await redeem(world, code as string, verifier), 400, 'invalid_grant');
      return 'invalid_grant';
    },
  },
  {
    name: 'a refresh token rotates, and an old one is refused with its family',
    run: async (world) => {
      const [first] = world.refreshTokens;
      if (first === undefined) throw new CheckSkipped('there is no refresh token');
      const refresh = async (refresh_token: string) => {
        const { token_endpoint } = await endpoints(world);
        return world.post(token_endpoint, { grant_type: 'refresh_token', refresh_token }, world.registered());
      };
      const second = await refresh(first);
      expect(second.status === 200 && second.json.refresh_token !== first, `refreshing answered ${second.status}`);
      const third = await refresh(second.json.refresh_token);
      expect(third.status === 200, `refreshing again answered ${third.status}`);
      expectError(await refresh(first), 400, 'invalid_grant');
      expectError(await refresh(third.json.refresh_token), 400, 'invalid_grant');
      return 'rotated twice, reuse ended the family';
    },
  },
  {
    name: 'a revoked token is refused',
    run: async (world) => {
      const route = await world.route();
      const { revocation_endpoint } = await endpoints(world);
      const { access_token } = await token(world, { grant_type: 'client_credentials' });
      const before = await world.get(route.path, bearer(access_token), route.host);
      expect(!refusedByUs(before), `before the revocation it answered ${before.status} ${before.code}`);
      const revoked = await world.post(revocation_endpoint, { token: access_token }, world.registered());
      expect(revoked.status === 200, `revoking answered ${revoked.status}`);
      const after = await world.get(route.path, bearer(access_token), route.host);
      expect(
        after.status === 401 && after.code === 'invalid_token',
        `afterwards it answered ${after.status} ${after.code}`,
      );
      return 'passed before, 401 afterwards';
    },
  },
  {
    name: 'a limit refuses what is too much',
    run: async (world) => {
      const route = await world.route();
      const limit = await ownLimitOf(world);
      if (limit === undefined) throw new CheckSkipped(`route ${route.name} has no limit by client that could be tried`);
      const { access_token } = await token(world, { grant_type: 'client_credentials' });
      for (let n = 1; n <= 40; n += 1) {
        const answer = await world.get(route.path, bearer(access_token), route.host);
        if (answer.status === 429 && answer.code === 'rate_limited') {
          const { name } = await world.issuer();
          await world.ask('DELETE', `/v1/limits/${limit}/${encodeURIComponent(`${name}/${world.registered().id}`)}`);
          return `429 at request ${n}, then reset`;
        }
      }
      return expect(false, '40 requests in a row passed a limit of 20/1m') as never;
    },
  },
  {
    name: 'the audit log has the registration under its request id',
    run: async (world) => {
      const { id, requestId } = world.registered();
      const untilMs = performance.now() + 5000;
      while (performance.now() < untilMs) {
        const { items } = (await world.ask('GET', `/v1/audit?request_id=${requestId}`)) as {
          items: { type: string; client: string | null }[];
        };
        if (items.some(({ type, client }) => type === 'client.registered' && client === id)) return requestId;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return expect(false, `no event client.registered with request id ${requestId}`) as never;
    },
  },
  {
    name: 'the client is removed, and its tokens are refused',
    run: async (world) => {
      const { id } = world.registered();
      const { status, text } = await world.admin('DELETE', `/v1/clients/${id}`);
      expect(status === 204, `removing answered ${status} ${text.slice(0, 200)}`);
      world.client = undefined;
      expect((await world.admin('GET', `/v1/clients/${id}`)).status === 404, 'the client can still be read');
      return id;
    },
  },
];
