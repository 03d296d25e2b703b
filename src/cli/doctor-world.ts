// What the checks of `doorward doctor` share: the way to the admin port and to the proxy port, the configuration in force, and
// the client that they register and remove again.
import { Agent, request } from 'undici';
import { type AdminAnswer, type AdminCall, type AdminOptions, askAdmin } from './admin-client.ts';
import type { Terminal } from './terminal.ts';

/** A check found something wrong. */
export class CheckFailed extends Error {}

/** A check could not be made; the message says why. */
export class CheckSkipped extends Error {}

/** Throws {@link CheckFailed} unless `holds`. */
export function expect(holds: boolean, message: string): asserts holds {
  if (!holds) throw new CheckFailed(message);
}

/** One check. What it returns is shown beside its name. */
export interface DoctorCheck {
  readonly name: string;
  readonly run: (world: DoctorWorld) => Promise<string>;
}

/** A route as the running configuration has it. */
export interface DoctorRoute {
  readonly name: string;
  readonly path: string;
  readonly host: string | undefined;
  readonly scopes: readonly string[];
  readonly limits: readonly string[];
}

/** Members of the effective configuration that are looked at; the rest is none of ours. */
export interface RunningConfig {
  readonly proxy: { readonly listen: string; readonly endpoints?: { readonly oauth?: boolean } };
  readonly oauth?: { readonly issuer?: string };
  readonly issuers: Readonly<Record<string, { readonly issuer: string; readonly sign?: object }>>;
  readonly tiers?: Readonly<Record<string, { readonly scopes: readonly string[] }>>;
  readonly limits?: Readonly<Record<string, { readonly key: unknown; readonly mode?: string }>>;
  readonly defaults?: { readonly issuers?: readonly string[]; readonly limits?: readonly string[] };
  readonly routes: Readonly<Record<string, RunningRoute>>;
  readonly redis?: object;
  readonly postgres?: object;
}

interface RunningRoute {
  readonly match: {
    readonly prefix?: string;
    readonly path?: string;
    readonly hosts?: readonly string[];
    readonly methods?: readonly string[];
  };
  readonly auth: string;
  readonly mode?: string;
  readonly issuers?: readonly string[];
  readonly limits?: readonly string[];
  readonly require?: {
    readonly scopes?: readonly string[] | { readonly any: readonly string[] };
    readonly roles?: unknown;
    readonly claims?: unknown;
  };
}

/** An answer of the proxy port. */
export interface ProxyAnswer {
  readonly status: number;
  /** Of a refusal of ours; undefined for what the application answers. */
  readonly code: string | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: documents of several kinds, looked at member by member
  readonly json: any;
}

/** The temporary client. */
export interface DoctorClient {
  readonly id: string;
  readonly secret: string;
  readonly scopes: readonly string[];
  readonly requestId: string;
}

/** Everything a check may use, and what earlier checks left for later ones. */
export class DoctorWorld {
  readonly options: AdminOptions;
  readonly terminal: Terminal;
  readonly #agent = new Agent();
  readonly #url: string | undefined;
  readonly #wantedPath: string | undefined;
  #config: RunningConfig | undefined;
  client: DoctorClient | undefined;
  accessToken: string | undefined;
  refreshTokens: string[] = [];

  constructor(options: AdminOptions, terminal: Terminal, more: { readonly url?: string; readonly path?: string }) {
    this.options = options;
    this.terminal = terminal;
    this.#url = more.url;
    this.#wantedPath = more.path;
  }

  admin(method: AdminCall['method'], path: string, body?: unknown): Promise<AdminAnswer> {
    return askAdmin(this.options, this.terminal, { method, path, ...(body === undefined ? {} : { body }) });
  }

  /** A call that has to succeed; returns its JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: documents of several kinds, looked at member by member
  async ask(method: AdminCall['method'], path: string, body?: unknown): Promise<any> {
    const { status, text, json } = await this.admin(method, path, body);
    if (status === 501) throw new CheckSkipped(`${path} is not configured`);
    expect(status < 300, `${method} ${path} answered ${status} ${text.slice(0, 200)}`);
    return json;
  }

  async config(): Promise<RunningConfig> {
    this.#config ??= (await this.ask('GET', '/v1/config')).config as RunningConfig;
    return this.#config;
  }

  /** Our own issuer that serves OAuth. Skips without one. */
  async issuer(): Promise<{ readonly name: string; readonly url: string }> {
    const { proxy, oauth, issuers } = await this.config();
    if (!proxy.endpoints?.oauth) throw new CheckSkipped('proxy.endpoints.oauth is off');
    const found = Object.entries(issuers).find(
      ([name, { sign }]) => sign !== undefined && (oauth?.issuer === undefined || oauth.issuer === name),
    );
    if (found === undefined) throw new CheckSkipped('no issuer of ours');
    return { name: found[0], url: found[1].issuer };
  }

  /** A route on which a token of ours should count; `scoped`: one that requires scopes. Skips without one. */
  async route(scoped = false): Promise<DoctorRoute> {
    const { name } = await this.issuer();
    const config = await this.config();
    const routes = Object.entries(config.routes).flatMap(([at, route]) => routeOf(at, route, config, name));
    const asked = this.#wantedPath;
    const found = routes
      .filter(({ path, scopes }) => (asked === undefined || path === asked) && (!scoped || scopes.length > 0))
      .toSorted((a, b) => b.scopes.length - a.scopes.length)[0];
    if (found !== undefined) return found;
    throw new CheckSkipped(
      scoped ? 'no such route requires a scope' : 'no route takes tokens of ours by GET; see --path',
    );
  }

  /** The client that an earlier check registered. */
  registered(): DoctorClient {
    if (this.client === undefined) throw new CheckSkipped('no client was registered');
    return this.client;
  }

  async origin(): Promise<string> {
    if (this.#url !== undefined) return this.#url.replace(/\/$/, '');
    const { listen } = (await this.config()).proxy;
    const [, host, port] = /^(.*):(\d+)$/.exec(listen) ?? [];
    if (port === undefined || port === '0') throw new CheckSkipped('the proxy port is not known; give --url');
    return `http://${/^(?:|0\.0\.0\.0|\[::\]|\*)$/.test(host as string) ? '127.0.0.1' : host}:${port}`;
  }

  /** One GET of the proxy port. */
  async get(path: string, fields: Readonly<Record<string, string>> = {}, host?: string): Promise<ProxyAnswer> {
    return this.#send('GET', path, { ...fields, ...(host && { host }) });
  }

  /** One POST of a form to an OAuth endpoint. */
  async post(endpoint: string, form: Readonly<Record<string, string>>, as?: DoctorClient): Promise<ProxyAnswer> {
    const { url } = await this.issuer();
    const fields = {
      host: new URL(url).host,
      'content-type': 'application/x-www-form-urlencoded',
      ...(as && { authorization: `Basic ${Buffer.from(`${as.id}:${as.secret}`).toString('base64')}` }),
    };
    return this.#send('POST', new URL(endpoint).pathname, fields, new URLSearchParams(form).toString());
  }

  async #send(
    method: 'GET' | 'POST',
    path: string,
    headers: Readonly<Record<string, string>>,
    body?: string,
  ): Promise<ProxyAnswer> {
    const url = `${await this.origin()}${path}`;
    const answer = await request(url, {
      dispatcher: this.#agent,
      method,
      headers,
      headersTimeout: 10_000,
      bodyTimeout: 10_000,
      ...(body === undefined ? {} : { body }),
    }).catch((cause) => {
      throw new CheckFailed(`nothing answers at ${url} (${(cause as NodeJS.ErrnoException).code})`, { cause });
    });
    const text = await answer.body.text();
    const ours = String(answer.headers['content-type']).startsWith('application/problem+json');
    const json = jsonIn(text);
    return { status: answer.statusCode, json, code: ours ? json?.code : undefined };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }
}

function routeOf(name: string, route: RunningRoute, config: RunningConfig, issuer: string): DoctorRoute[] {
  const { match, auth, mode, require = {} } = route;
  const issuers = route.issuers ?? config.defaults?.issuers ?? Object.keys(config.issuers);
  const isPlain = require.roles === undefined && require.claims === undefined;
  if (auth !== 'required' || mode === 'shadow' || !issuers.includes(issuer) || !isPlain) return [];
  if (match.methods !== undefined && !match.methods.includes('GET')) return [];
  const { scopes = [] } = require;
  return [
    {
      name,
      path: match.path?.replaceAll(/\{[^}]*\}/g, 'doctor') ?? match.prefix ?? '/',
      host: match.hosts?.find((host) => !host.startsWith('*')),
      scopes: 'any' in scopes ? [scopes.any[0] as string] : (scopes as readonly string[]),
      limits: route.limits ?? config.defaults?.limits ?? [],
    },
  ];
}

function jsonIn(text: string) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
