// An application that believes Doorward's headers. Nobody else can reach it: it listens on loopback, beside Doorward.
//   node headers.mjs
import { createServer } from 'node:http';

// Lists are comma-separated (scopes: by spaces), and each element is percent-encoded where it is not plain ASCII.
const listOf = (value, separator) => (value ?? '').split(separator).filter(Boolean).map(decodeURIComponent);
const textOf = (value) => (value === undefined ? null : decodeURIComponent(value));

/** Who is calling; null for requests without a token (routes with `auth: optional` or `none`). */
function callerOf({ headers }) {
  if (headers['x-auth-issuer'] === undefined) return null;
  return {
    subject: textOf(headers['x-auth-subject']),
    issuer: textOf(headers['x-auth-issuer']),
    client: textOf(headers['x-auth-client']),
    tenant: textOf(headers['x-auth-tenant']),
    scopes: listOf(headers['x-auth-scopes'], ' '),
    roles: listOf(headers['x-auth-roles'], ','),
  };
}

const server = createServer((request, response) => {
  const caller = callerOf(request);
  const mayWrite = caller?.scopes.includes('write') ?? false;
  response.setHeader('Content-Type', 'application/json');
  response.end(`${JSON.stringify({ path: request.url, caller, may_write: mayWrite })}\n`);
});

server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1');
