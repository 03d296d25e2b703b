// Cross-origin reading of the public endpoints by browser clients with PKCE (Fetch standard). Pages of the origins that
// `oauth.origins` lists may read what a client without secret needs; the documents, which are the same for everybody, any page.
// Never with credentials of the browser: cookies mean nothing here.
import type { OAuthSettings } from './dependencies.ts';
import type { OAuthExchange } from './exchange.ts';
import type { OAuthAnswer } from './send.ts';

/** Who may read an endpoint from a page elsewhere: listed origins, anybody, or (undefined) nobody. */
export type CorsAccess = 'listed' | 'anybody' | undefined;

const PREFLIGHT_SECONDS = '600';
const READABLE = 'Retry-After, WWW-Authenticate, X-Request-Id';

type Exchange = Pick<OAuthExchange, 'request'> & { readonly settings: Pick<OAuthSettings, 'origins'> };

/** Fields of every answer of the endpoint, refusals included; names and values in turn. Documents bring their own. */
export function corsFields({ request, settings }: Exchange, access: CorsAccess): readonly string[] {
  if (access !== 'listed' || settings.origins.size === 0) return [];
  const origin = originOf(request.headersDistinct.origin);
  // Also where there is no such field: a cache must not give one page what another may read.
  if (origin === undefined || !settings.origins.has(origin)) return ['Vary', 'Origin'];
  return ['Vary', 'Origin', 'Access-Control-Allow-Origin', origin, 'Access-Control-Expose-Headers', READABLE];
}

/** The answer to a preflight of a page that may go on; undefined for every other request. */
export function preflightAnswer(
  exchange: Exchange,
  methods: readonly string[],
  access: CorsAccess,
): OAuthAnswer | undefined {
  const { method, headersDistinct: fields } = exchange.request;
  const origin = originOf(fields.origin);
  if (method !== 'OPTIONS' || origin === undefined || fields['access-control-request-method'] === undefined) return;
  const isListed = access === 'listed' && exchange.settings.origins.has(origin);
  if (!isListed && access !== 'anybody') return;
  return {
    status: 204,
    headers: [
      ...(isListed ? [] : ['Access-Control-Allow-Origin', '*']),
      ...['Access-Control-Allow-Methods', methods.join(', ')],
      ...['Access-Control-Allow-Headers', isListed ? 'Authorization, Content-Type' : 'If-None-Match'],
      ...['Access-Control-Max-Age', PREFLIGHT_SECONDS],
    ],
  };
}

const originOf = (values: readonly string[] | undefined) => (values?.length === 1 ? values[0] : undefined);
