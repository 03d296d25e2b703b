// From a validated configuration to a Generation: every stage built and checked before the first request sees it.
import type { RouteConfig, SidecarConfig } from '../config/schema.ts';
import type { Clock } from '../core/clock.ts';
import { addressReader } from '../http/client-address.ts';
import type { ClientRecords } from '../limits/clients.ts';
import { compileLimits, type LimitPlan } from '../limits/plan.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Verifier } from '../token/verify.ts';
import { requirement } from './decide/authorize.ts';
import { badTokens } from './decide/bad-tokens.ts';
import { certificatePlan } from './decide/certificate.ts';
import type { CheckGate } from './decide/check-gate.ts';
import type { Exchange } from './exchange.ts';
import type { Generation } from './generation.ts';
import { credentialSource } from './inbound/credential.ts';
import { type Route, relaxBits, routeTable } from './inbound/route.ts';
import { fieldReader } from './inbound/strip.ts';
import type { AssertionPlan } from './outbound/assertion.ts';
import { identityPlan } from './outbound/identity.ts';
import type { Upstream } from './outbound/upstream.ts';
import type { TracePlan } from './tracing.ts';

/** What a generation is made of besides its configuration; all of it outlives the generation. */
export interface GenerationParts {
  /** Names the configuration. */
  readonly configId: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly verifier: Verifier;
  readonly gate: CheckGate;
  /** Client records of this configuration's issuer names. */
  readonly clients: ClientRecords;
  /** Undefined unless `identity_assertion.enabled`. */
  readonly assertions: AssertionPlan | undefined;
  /** Undefined without `tracing`. */
  readonly tracing: TracePlan | undefined;
}

/** What proxies that end TLS tell of a client certificate: where TLS ends with us, nobody else may (RFC 9440 section 2.4). */
const CERTIFICATE_FIELDS = ['Client-Cert', 'Client-Cert-Chain'];

/** Compiles `config`; throws only on what config/validate.ts should have refused. */
export function compileGeneration(config: SidecarConfig, parts: GenerationParts): Generation {
  const { configId, clock, log, metrics, upstreams, verifier, gate, clients, assertions, tracing } = parts;
  const lookups = (outcome: string) => metrics.tokenCache.labels(outcome);
  const plans = compileLimits(config, config.name, clients);
  const routes = Object.entries(config.routes).map(([name, route]) =>
    compileRoute(name, route, config, upstreams, plans.get(name) as LimitPlan),
  );
  const { proxy } = config;
  let saidForwarding = false;
  return {
    config,
    configId,
    table: routeTable(routes),
    readFields: fieldReader(
      Object.keys(config.identity_headers).concat(
        config.identity_assertion.header,
        proxy.tls ? CERTIFICATE_FIELDS : [],
      ),
      tracing !== undefined,
    ),
    addresses: addressReader(proxy.trusted_proxies, proxy.client_address),
    readsForwarded: proxy.client_address === 'forwarded',
    reservedPrefix: proxy.reserved_prefix,
    scheme: proxy.tls === undefined ? 'http' : 'https',
    identity: identityPlan(config.identity_headers, assertions, clock),
    certificates:
      proxy.tls === undefined || proxy.tls.client_certificate === 'off' ? undefined : certificatePlan(proxy.tls, clock),
    assertionKeys: assertions?.jwks,
    identityNames: Object.keys(config.identity_headers).concat(assertions?.header ?? []),
    verifier,
    tokenLookups: { hit: lookups('hit'), refused: lookups('refused'), miss: lookups('miss') },
    badTokens: badTokens(proxy.bad_tokens, clock),
    gate,
    tracing,
    problemOptions: { realm: config.name ?? 'doorward', showReason: proxy.error_detail === 'reason' },
    onDefect: (error) => log.error({ err: error }, 'defect'),
    noteUntrustedForwarding({ fields, peer }: Exchange) {
      if (saidForwarding || fields === undefined || !isPrivate(peer.address)) return;
      if (fields.forwardedFor.length === 0 && fields.forwarded.length === 0) return;
      saidForwarding = true;
      const hint = `add ${peer.address} (or its network) to proxy.trusted_proxies if it is your proxy`;
      log.warn({ peer: peer.address, hint }, 'forwarded_fields_ignored');
    },
  };
}

const isPrivate = (address: string) =>
  /^(?:10\.|127\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|f[cd]|fe80|::1$)/.test(address);

function compileRoute(
  name: string,
  route: RouteConfig,
  config: SidecarConfig,
  upstreams: ReadonlyMap<string, Upstream>,
  limits: LimitPlan,
): Route {
  const issuers = route.issuers ?? config.defaults.issuers ?? Object.keys(config.issuers);
  const limitNames = route.limits ?? config.defaults.limits;
  const upstream = upstreams.get(route.upstream ?? (Object.keys(config.upstreams)[0] as string)) as Upstream;
  const { auth, require, credentials, cors, mode, forward_token: forwardToken, stream } = route;
  return {
    name,
    config: route,
    upstream,
    auth,
    issuers,
    sources: credentials.filter((each) => each !== 'certificate').map(credentialSource),
    byCertificate: credentials.includes('certificate'),
    requirement: requirement(require),
    limits,
    relax: relaxBits(route.relax),
    shadow: mode === 'shadow',
    forwardToken,
    stream,
    origins: typeof cors === 'object' ? new Set(cors.origins) : undefined,
    bodyBytes: route.body_size ?? config.defaults.body_size,
    bodyTimeoutMs: route.body_timeout ?? config.defaults.body_timeout,
    responseTimeoutMs: route.response_timeout ?? config.defaults.response_timeout,
    idleTimeoutMs: route.idle_timeout ?? config.defaults.idle_timeout,
    policy: JSON.stringify([auth, issuers, require, limitNames, credentials, cors, mode, forwardToken, upstream.name]),
  };
}
