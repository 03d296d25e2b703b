// The public endpoints as the proxy port meets them: which requests are ours, which function answers each, and the one place
// that turns what went wrong into an answer. Only the issuer's own host is served; any other host sees its routes.

import type { IncomingMessage } from 'node:http';
import type { ClientAddress } from '../../core/address.ts';
import { SidecarError } from '../../core/errors.ts';
import { requestId } from '../../core/ids.ts';
import { hostName } from '../../http/canonical.ts';
import type { ClientResponse } from '../../http/client-response.ts';
import { type CorsAccess, corsFields, preflightAnswer } from './cors.ts';
import type { OAuthDependencies, OAuthSettings } from './dependencies.ts';
import { invalidRequest, OAuthError } from './errors.ts';
import type { OAuthEndpoint, OAuthExchange } from './exchange.ts';
import { introspectEndpoint } from './introspect.ts';
import { unavailable } from './limits.ts';
import { jwksEndpoint, metadataEndpoint } from './metadata.ts';
import { registerEndpoint, registrationEndpoint } from './register.ts';
import { revokeEndpoint } from './revoke.ts';
import { NO_STORE, refusalOf, sendAnswer } from './send.ts';
import { tokenEndpoint } from './token.ts';
import { userinfoEndpoint } from './userinfo.ts';

interface Page {
  readonly methods: readonly string[];
  readonly endpoint: OAuthEndpoint;
  /** Who may read its answers from a page elsewhere. */
  readonly access?: CorsAccess;
}

const post = (endpoint: OAuthEndpoint, access?: CorsAccess): Page => ({ methods: ['POST'], endpoint, access });
const document = (endpoint: OAuthEndpoint): Page => ({ methods: ['GET', 'HEAD'], endpoint, access: 'anybody' });

/** By the part of the path behind the base path. */
const pages: ReadonlyMap<string, Page> = new Map([
  ['token', post(tokenEndpoint, 'listed')],
  ['revoke', post(revokeEndpoint, 'listed')],
  ['introspect', post(introspectEndpoint)],
  ['register', post(registerEndpoint)],
  ['userinfo', { methods: ['GET', 'HEAD', 'POST'], endpoint: userinfoEndpoint, access: 'listed' }],
]);

const wellKnown: ReadonlyMap<string, Page> = new Map([
  ['/.well-known/openid-configuration', document(metadataEndpoint)],
  ['/.well-known/oauth-authorization-server', document(metadataEndpoint)],
  ['/.well-known/jwks.json', document(jwksEndpoint)],
]);

/** What the proxy port asks first. */
export interface PublicSite {
  /** True when the request is ours; it is answered then, and nothing else may touch it. */
  serve(request: IncomingMessage, response: ClientResponse, expectsContinue: boolean): boolean;
}

/** The site over its parts. */
export function oauthSite(parts: OAuthDependencies): PublicSite {
  return {
    serve(request, response, expectsContinue) {
      const settings = parts.settings();
      const page = pageOf(request.url as string, settings);
      if (page === undefined || !isOurHost(request, settings)) return false;
      if (expectsContinue) response.writeContinue();
      const exchange: OAuthExchange = {
        parts,
        settings,
        request,
        requestId: requestId(),
        address: addressOf(request, settings),
      };
      void answer(exchange, page, response);
      return true;
    },
  };
}

/** Exact paths only: no other reading of a path leads here, so none has to be guarded against. */
function pageOf(target: string, { basePath }: OAuthSettings): Page | undefined {
  const ours = target.startsWith(basePath);
  if (!ours && !target.startsWith('/.well-known/')) return undefined;
  const end = target.indexOf('?');
  const path = end < 0 ? target : target.slice(0, end);
  return ours ? pageBelow(path.slice(basePath.length)) : wellKnown.get(path);
}

function pageBelow(name: string): Page | undefined {
  const managed = /^register\/([A-Za-z0-9_-]{1,128})$/.exec(name)?.[1];
  if (managed === undefined) return pages.get(name);
  return { methods: ['GET', 'HEAD', 'PUT', 'DELETE'], endpoint: (exchange) => registrationEndpoint(exchange, managed) };
}

function isOurHost(request: IncomingMessage, { host }: OAuthSettings): boolean {
  const fields = request.headersDistinct.host ?? [];
  return fields.length === 1 && hostName(fields[0] as string) === host;
}

function addressOf(request: IncomingMessage, { addresses, readsForwarded }: OAuthSettings): ClientAddress {
  const peer = addresses.peer(request.socket.remoteAddress);
  if (!peer.trusted) return peer;
  return addresses.behind(peer, request.headersDistinct[readsForwarded ? 'forwarded' : 'x-forwarded-for'] ?? []);
}

async function answer(exchange: OAuthExchange, page: Page, response: ClientResponse): Promise<void> {
  const { request, requestId: id } = exchange;
  const { methods, endpoint, access } = page;
  const fields = corsFields(exchange, access);
  const send = (given: Parameters<typeof sendAnswer>[2]) =>
    sendAnswer(request, response, { ...given, headers: [...(given.headers ?? NO_STORE), ...fields] }, id);
  const preflight = preflightAnswer(exchange, methods, access);
  if (preflight !== undefined) return send(preflight);
  try {
    if (!methods.includes(request.method as string)) {
      throw invalidRequest('this method is not served here', { status: 405, allow: methods.join(', ') });
    }
    send(await endpoint(exchange));
  } catch (error) {
    send(refusalOf(refusalFor(exchange, error)));
  }
}

function refusalFor({ parts, requestId: id }: OAuthExchange, error: unknown): OAuthError {
  if (error instanceof OAuthError) return error;
  if (error instanceof SidecarError && error.kind === 'store_unavailable') {
    parts.log.warn({ err: error, request_id: id }, 'oauth_store_away');
    return unavailable();
  }
  parts.log.error({ err: error, request_id: id }, 'oauth_defect');
  return new OAuthError('server_error', 'something went wrong here', { status: 500 });
}
