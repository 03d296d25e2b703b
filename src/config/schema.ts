// Every setting of sidecar.yaml, once: type, default, unit, doc line, live or restart. The JSON Schema under config/, the
// configuration reference and the types of the whole program come from here. Cross-references are checked in validate.ts.
import { z } from 'zod';
import {
  claimPath,
  doc,
  duration,
  listenAddress,
  moment,
  name,
  named,
  oneOrMany,
  rate,
  secret,
  size,
} from './fields.ts';
import { adminTls, audit } from './schema-audit.ts';
import { client, tier } from './schema-clients.ts';
import { identityAssertion, identityHeaders } from './schema-identity.ts';
import { controlPlane, sealing, sign } from './schema-keys.ts';
import { oauth } from './schema-oauth.ts';
import { proxy } from './schema-proxy.ts';
import { postgres, redis } from './schema-stores.ts';
import { tracing } from './schema-tracing.ts';
import { upstream } from './schema-upstreams.ts';

const algorithm = z.enum([
  'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'HS256', 'HS384', 'HS512',
]); // biome-ignore format: one line reads better

const keys = z.strictObject({
  discover: z.boolean().optional().meta(doc('Find jwks_uri through the issuer metadata (the default).')),
  url: z
    .url({ protocol: /^https?$/, error: 'needs an http:// or https:// URL' })
    .optional()
    .meta(doc('Fetch the JWKS here.')),
  published: z
    .literal(true)
    .optional()
    .meta(
      doc('Our own issuer: its keys come from the control plane through Redis, signed (control_plane.public_key).'),
    ),
  file: z
    .string()
    .min(1)
    .optional()
    .meta(doc('Read a JWKS from this file (relative to this one); followed when it changes.')),
  inline: z
    .strictObject({ keys: z.array(z.record(z.string(), z.unknown())).min(1) })
    .optional()
    .meta(doc('A JWKS written here.')),
  pem: secret().optional().meta(doc('One public key or certificate in PEM.')),
  secret: secret().optional().meta(doc('Shared secret for HS256/384/512, at least as long as the hash.')),
  refresh: duration().prefault('10m').meta(doc('Fetch again this long after the last fetch, ahead of need.')),
  cooldown: duration().prefault('30s').meta(doc('An unknown kid causes at most one fetch per this time.')),
  stale_for: duration({ span: true })
    .prefault('24h')
    .meta(doc('How long the last good keys serve while the endpoint fails.')),
  timeout: duration().prefault('5s').meta(doc('Limit of one fetch.')),
});

const claims = z.strictObject({
  subject: claimPath().prefault('sub').meta(doc('Claim that names the subject.')),
  client: oneOrMany(z.string().min(1))
    .optional()
    .meta(doc('Claim that names the client; default client_id, then azp.')),
  roles: claimPath().prefault('roles').meta(doc('Claim with the roles: array, or string split at spaces.')),
  scopes: claimPath().optional().meta(doc('Claim with the scopes; default scope, then scp.')),
  tenant: claimPath().prefault('tenant').meta(doc('Claim that names the tenant.')),
  session: claimPath().prefault('sid').meta(doc('Claim that names the session.')),
});

const issuer = z.strictObject({
  issuer: z.string().min(1).meta(doc('`iss`, compared byte for byte.')),
  audience: oneOrMany(z.string().min(1)).meta(doc('One of these must be in `aud`.')),
  audience_claim: z
    .string()
    .min(1)
    .prefault('aud')
    .meta(doc('Claim that holds the audience, for issuers without aud.')),
  types: z
    .array(z.enum(['at+jwt', 'JWT', 'absent']))
    .min(1)
    .prefault(['at+jwt', 'JWT'])
    .meta(doc('Accepted `typ`; `absent` for issuers that set none.')),
  keys: keys.prefault({}).meta(doc('Where the keys come from; exactly one source, discovery by default.')),
  sign: sign.optional().meta(doc('Makes the issuer ours: tokens can be issued on the admin port.')),
  algorithms: z
    .array(algorithm)
    .min(1)
    .optional()
    .meta(doc('Accepted `alg`; default ES256, RS256, EdDSA (HS256 for keys.secret).')),
  clock_tolerance: duration({ zero: true }).prefault('60s').meta(doc('Allowed clock skew on exp, nbf and iat.')),
  max_lifetime: duration({ span: true }).prefault('24h').meta(doc('exp - iat above this is refused.')),
  require: z
    .record(
      z.string(),
      z.union([z.string(), z.number(), z.boolean(), z.array(z.union([z.string(), z.number()])).min(1), z.null()]),
    )
    .prefault({})
    .meta(doc('Claims every token must carry: a value, one of a list, or null for any value.')),
  claims: claims.prefault({}).meta(doc('Where the issuer puts what we need.')),
});

const keyPart = z.union([
  z.enum(['ip', 'client', 'subject', 'tenant', 'route']),
  z.strictObject({ claim: claimPath() }),
]);
const failMode = z.enum(['local', 'deny', 'allow']);

const limit = z.strictObject({
  key: oneOrMany(keyPart).meta(doc('What is counted: ip, client, subject, tenant, route, {claim: …}, or a list.')),
  rate: oneOrMany(rate()).optional().meta(doc('One or more rates, all kept.')),
  tiers: z.record(name(), oneOrMany(rate())).optional().meta(doc("Rates by the client record's tier.")),
  default_tier: name().optional().meta(doc('Tier of clients without a record.')),
  concurrent: z
    .int()
    .min(1)
    .max(1_000_000)
    .optional()
    .meta(doc('Requests under way at once, open streams among them, instead of a rate; per replica, in its memory.')),
  algorithm: z
    .enum(['sliding', 'log'])
    .prefault('sliding')
    .meta(doc('`log` is exact, for small limits such as logins.')),
  mode: z.enum(['enforce', 'shadow']).prefault('enforce').meta(doc('`shadow` counts and reports, and never refuses.')),
  shadow_until: moment()
    .optional()
    .meta(
      doc('With mode: shadow: its end. From then on the limit is enforced; without it, check --production refuses.'),
    ),
  on_store_down: failMode.prefault('local').meta(doc('Redis away: count locally at limit / replicas, deny, or allow.')),
  exempt: z.array(z.string()).prefault([]).meta(doc('Addresses or CIDRs that this limit does not count.')),
  shared: z.boolean().prefault(false).meta(doc('Count over all applications on the same Redis, not only this one.')),
});

const many = z.union([z.array(z.string().min(1)).min(1), z.strictObject({ any: z.array(z.string().min(1)).min(1) })]);
const requireBlock = z.strictObject({
  scopes: many.optional().meta(doc('Scopes needed: all of a list, or {any: […]}.')),
  roles: many.optional().meta(doc('Roles needed: all of a list, or {any: […]}.')),
  claims: z
    .record(z.string(), oneOrMany(z.union([z.string(), z.number(), z.boolean()])))
    .optional()
    .meta(
      doc('Claims that must have one of the values; `tenant` is the tenant, an array claim matches by membership.'),
    ),
});

const credential = z.union([
  z.enum(['bearer', 'websocket', 'certificate']),
  z.strictObject({ header: z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'needs a header name') }),
  z.strictObject({ cookie: z.string().min(1) }),
  z.strictObject({ query: z.string().min(1) }),
]);

/** Relaxations of step 2 of the request path; a closed list, printed at start. */
export const relaxations = ['encoded_slash', 'double_slash', 'double_encoding'] as const;

const route = z.strictObject({
  match: z
    .strictObject({
      prefix: z
        .string()
        .optional()
        .meta(doc('Whole segments: /api matches /api and /api/x, never /apix. No `*`, no regular expressions.')),
      path: z
        .string()
        .optional()
        .meta(doc('One exact path; {name} stands for one segment. No `*`, no regular expressions.')),
      hosts: z
        .array(z.string().min(1))
        .min(1)
        .optional()
        .meta(doc('Host names without port; *.example.com is one label.')),
      methods: z
        .array(z.string().regex(/^[A-Z]+$/, 'needs upper-case methods'))
        .min(1)
        .optional()
        .meta(doc('GET includes HEAD.')),
    })
    .meta(doc('Exactly one of prefix and path.')),
  upstream: name().optional().meta(doc('Default: the only upstream.')),
  auth: z
    .enum(['required', 'optional', 'none'])
    .prefault('required')
    .meta(doc('optional: no credential is anonymous, a bad one is 401.')),
  issuers: z
    .array(name())
    .min(1)
    .optional()
    .meta(doc('Issuers accepted here; default from `defaults`, or the only one.')),
  require: requireBlock.optional().meta(doc('What the token must grant.')),
  limits: z.array(name()).optional().meta(doc('Limits that count here, all in one round trip.')),
  credentials: z
    .array(credential)
    .min(1)
    .prefault(['bearer'])
    .meta(
      doc(
        'Where a token may stand; two at once is 400. certificate: the client certificate of the connection, where no token is sent (proxy.tls.client_certificate). From a cookie a token changes nothing for pages of other origins, but those under cors.',
      ),
    ),
  cors: z
    .union([z.enum(['off', 'pass']), z.strictObject({ origins: z.array(z.string().min(1)).min(1) })])
    .prefault('off')
    .meta(doc('pass: true preflights go upstream without identity; {origins}: only these Origins may use the route.')),
  relax: z.array(z.enum(relaxations)).prefault([]).meta(doc('Strict path rules that this route does without.')),
  forward_token: z
    .boolean()
    .prefault(false)
    .meta(doc('Send the token upstream; off, because applications log headers.')),
  stream: z.boolean().prefault(false).meta(doc('Responses are streams: no idle timeout, end with the token.')),
  mode: z.enum(['enforce', 'shadow']).prefault('enforce').meta(doc('shadow: decide, log, count, forward anyway.')),
  shadow_until: moment()
    .optional()
    .meta(
      doc('With mode: shadow: its end. From then on the route is enforced; without it, check --production refuses.'),
    ),
  body_size: size().optional().meta(doc('Largest request body.')),
  body_timeout: duration().optional().meta(doc('Between two reads of a request body; a stalled upload is 408.')),
  response_timeout: duration().optional().meta(doc('Until the response head.')),
  idle_timeout: duration().optional().meta(doc('Between two chunks of a response; never on streams.')),
});

const defaults = z.strictObject({
  issuers: z
    .array(name())
    .min(1)
    .optional()
    .meta(doc('Issuers of routes that name none; needed with several issuers.')),
  limits: z.array(name()).prefault([]).meta(doc('Limits of routes that name none.')),
  body_size: size().prefault('10MiB').meta(doc('Largest request body.')),
  body_timeout: duration().prefault('30s').meta(doc('Between two reads of a request body; a stalled upload is 408.')),
  response_timeout: duration().prefault('30s').meta(doc('Until the response head.')),
  idle_timeout: duration().prefault('60s').meta(doc('Between two chunks of a response; never on streams.')),
});

/** The whole file. Output: durations in ms, sizes in bytes, rates as {limit, windowMs}. */
export const sidecarSchema = z.strictObject({
  version: z.literal(1, { error: 'needs to be 1' }).meta(doc('Version of this format.')),
  name: z
    .string()
    .regex(/^[a-z][a-z0-9_-]*$/, 'needs a-z, 0-9, _ and -')
    .optional()
    .meta(doc('This application: part of limit keys, logs, traces; needed with redis.', 'restart')),
  state_dir: z.string().min(1).prefault('.doorward').meta(doc('Private files of this replica.', 'restart')),
  proxy: proxy.prefault({}).meta(doc('The proxy port.')),
  admin: z
    .strictObject({
      listen: z
        .union([z.literal('off'), listenAddress()])
        .prefault('127.0.0.1:9900')
        .meta(doc('Admin port; the socket state_dir/admin.sock is always there.', 'restart')),
      tls: adminTls.optional().meta(doc('TLS of the admin port; the socket goes without.', 'restart')),
    })
    .prefault({})
    .meta(doc('The admin port.')),
  observe: z
    .strictObject({
      listen: z
        .union([z.literal('off'), listenAddress()])
        .prefault('0.0.0.0:9902')
        .meta(doc('/healthz /readyz /metrics and nothing else; off: only on the admin port.', 'restart')),
    })
    .prefault({})
    .meta(doc('The observe port.')),
  upstreams: named(upstream).prefault({}).meta(doc('Applications behind us; none on a mere control plane.')),
  issuers: named(issuer).prefault({}).meta(doc('Who may sign tokens.')),
  limits: named(limit).prefault({}).meta(doc('Rate limits; one bucket wherever named.')),
  defaults: defaults.prefault({}).meta(doc('What routes take when they do not say.')),
  routes: named(route)
    .prefault({})
    .meta(doc('What is served, to whom; may be left out with postgres, for a control plane without traffic.')),
  identity_headers: identityHeaders.meta(
    doc('Headers that tell the application who is calling; stripped from clients.'),
  ),
  identity_assertion: identityAssertion
    .prefault({})
    .meta(doc('A signed statement of who is calling, for applications that verify instead of trusting the network.')),
  clients: named(client).prefault({}).meta(doc('Static client records, without secrets.')),
  tiers: named(tier).prefault({}).meta(doc('Which scopes clients of a tier may ask for; {}: tiers narrow nothing.')),
  default_tier: name()
    .optional()
    .meta(doc('One of `tiers`: of clients without one; who registers gets no `introspect` by it.')),
  redis: redis.optional().meta(doc('Shared state; without it everything is in memory of one replica.', 'restart')),
  postgres: postgres
    .optional()
    .meta(doc('Durable store of the control plane; without it only what Redis or memory can hold.', 'restart')),
  sealing: sealing
    .optional()
    .meta(doc('How secrets are sealed in PostgreSQL; needed with it, but for embedded: true.', 'restart')),
  control_plane: controlPlane.optional().meta(doc('What replicas without PostgreSQL believe of Redis.', 'restart')),
  audit: audit.optional().meta(doc('The audit log; durable with postgres, log lines without.', 'restart')),
  oauth: oauth.prefault({}).meta(doc('Codes, grants and limits of the public endpoints (proxy.endpoints.oauth).')),
  revocation: z
    .strictObject({
      on_store_down: z
        .enum(['known', 'deny', 'allow'])
        .prefault('known')
        .meta(doc('Redis away: answer from the index, 503, or accept.')),
      known_for: duration({ span: true })
        .prefault('15m')
        .meta(doc('How long `known` holds without contact before it becomes deny.')),
    })
    .prefault({})
    .meta(doc('The revocation check.')),
  log: z
    .strictObject({
      level: z
        .enum(['debug', 'info', 'warn', 'error', 'silent'])
        .prefault('info')
        .meta(doc('Least severe line written.')),
      decisions: z
        .strictObject({
          allow: z.number().min(0).max(1).prefault(0.01).meta(doc('Share of allowed requests logged.')),
          deny: z.number().min(0).max(1).prefault(1).meta(doc('Share of refused requests logged.')),
        })
        .prefault({})
        .meta(doc('Sampling of decision records.')),
      subject: z
        .enum(['digest', 'plain', 'off'])
        .prefault('digest')
        .meta(doc('How subject and client stand in the log.')),
    })
    .prefault({})
    .meta(doc('Logging.')),
  tracing: tracing.optional().meta(doc('OpenTelemetry traces; without it trace context passes through untouched.')),
});

/** A validated configuration: durations in ms, sizes in bytes, rates as {limit, windowMs}; secrets still by reference. */
export type SidecarConfig = z.output<typeof sidecarSchema>;
/** The file as people write it. */
export type SidecarInput = z.input<typeof sidecarSchema>;
/** One block under `issuers`. */
export type IssuerConfig = SidecarConfig['issuers'][string];
/** One block under `routes`. */
export type RouteConfig = SidecarConfig['routes'][string];
/** One block under `limits`. */
export type LimitConfig = SidecarConfig['limits'][string];
/** One block under `upstreams`. */
export type UpstreamConfig = SidecarConfig['upstreams'][string];
/** One block under `clients`. */
export type ClientConfig = SidecarConfig['clients'][string];
