// What is attacked: one protected path, how a token is shown there, and requests against it as bytes. Every request is a GET or
// has no effect by its method, so that an attack that gets through changes nothing.

/** Signs tokens that the sidecar accepts, and others that it must not; only where the keys are ours. */
export interface Forge {
  /** A token as the route wants it, with claims changed (undefined removes one) and header members added. */
  good(claims?: Readonly<Record<string, unknown>>, header?: Readonly<Record<string, unknown>>): string;
  /** Header and payload as text, properly signed. */
  sign(header: string, payload: string): string;
  /** The same token signed with a key nobody knows. */
  stranger(header?: Readonly<Record<string, unknown>>): string;
  /** Public key of the issuer in PEM; undefined for a shared secret. */
  readonly publicPem: string | undefined;
  readonly publicJwk: Readonly<Record<string, unknown>>;
  /** Public key of what signs {@link stranger}. */
  readonly strangerJwk: Readonly<Record<string, unknown>>;
  readonly audienceClaim: string;
}

/** One protected path. */
export interface AttackTarget {
  /** Route, or the path that the command line names. */
  readonly name: string;
  readonly host: string;
  readonly method: string;
  readonly path: string;
  /** A path on the same host that needs no token. */
  readonly open: string | undefined;
  /** Whoever shows no token may pass here. */
  readonly anonymous: boolean;
  /** A field line or a piece of query with the token, where the route looks for one. */
  readonly show: (token: string) => Shown;
  /** An accepted token. */
  readonly token: string | undefined;
  readonly forge: Forge | undefined;
  /** Headers that only the sidecar may set. */
  readonly identityHeaders: readonly string[];
  readonly agent: string;
}

/** Where a token stands in a request. */
export interface Shown {
  readonly field?: string;
  readonly query?: string;
}

/** One request of an attack. */
export interface Shot {
  readonly what: string;
  /** latin1. */
  readonly bytes: string;
}

/** The request head: `line` without version, Host and User-Agent unless `fields` name them. */
export function head(
  { host, agent }: AttackTarget,
  line: string,
  fields: readonly string[] = [],
  version = 'HTTP/1.1',
): string {
  const isNamed = (name: string) => fields.some((field) => field.toLowerCase().startsWith(`${name}:`));
  const own = [
    ...(isNamed('host') ? [] : [`Host: ${host}`]),
    ...(isNamed('user-agent') ? [] : [`User-Agent: ${agent}`]),
    ...(isNamed('connection') ? [] : ['Connection: close']),
  ];
  return `${line} ${version}\r\n${[...own, ...fields].map((field) => `${field}\r\n`).join('')}\r\n`;
}

/** The target asked for with a token and further fields. */
export function withToken(target: AttackTarget, token: string, fields: readonly string[] = []): string {
  const { field, query } = target.show(token);
  const path = query === undefined ? target.path : `${target.path}?${query}`;
  return head(target, `${target.method} ${path}`, [...(field === undefined ? [] : [field]), ...fields]);
}
