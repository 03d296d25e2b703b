// An application that believes nobody: it verifies Doorward's signed assertion (identity_assertion: {enabled: true}).
//   AUDIENCE=shop JWKS_URL=http://127.0.0.1:8080/.doorward/assertion/jwks.json node assertion.mjs
import { createServer } from 'node:http';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const keys = createRemoteJWKSet(new URL(process.env.JWKS_URL), { cacheMaxAge: 60_000, cooldownDuration: 5_000 });
const expected = {
  typ: 'assertion+jwt', // so that no other kind of token counts
  issuer: process.env.ISSUER ?? 'doorward',
  audience: process.env.AUDIENCE, // so that an assertion for another application is none for us
  algorithms: ['ES256'],
  requiredClaims: ['exp'],
};

const server = createServer(async (request, response) => {
  response.setHeader('Content-Type', 'application/json');
  try {
    const { payload } = await jwtVerify(request.headers['x-auth-assertion'] ?? '', keys, expected);
    response.end(`${JSON.stringify({ path: request.url, caller: { subject: payload.sub, roles: payload.roles ?? [] } })}\n`);
  } catch {
    response.statusCode = 401;
    response.end('{"error":"no valid assertion"}\n');
  }
});

if (!expected.audience) throw new Error('AUDIENCE is needed: the `name` of the sidecar before this application');
server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1');
