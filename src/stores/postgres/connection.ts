// One connection to PostgreSQL: how it is opened and what it never relies on. No state of a session, so that PgBouncer in
// transaction mode may stand in between: every transaction says for itself what it needs. Prepared statements are the one
// exception, and the pool does without them as soon as it finds that something in between loses them.
import postgres from 'postgres';
import { int8ArrayOf, parseTextArray, textArrayOf } from './arrays.ts';

/** What a connection is made of; secrets already resolved. */
export interface PostgresSettings {
  /**
   * `postgres://` or `postgresql://`; may carry user, password, database, `sslmode`, and as `host` in its query the folder of
   * a Unix socket, as libpq has it.
   */
  readonly url: string;
  /** Schema that holds everything of ours. */
  readonly schema: string;
  /** Most connections of the pool. */
  readonly connections: number;
  /** Longest a call waits for a connection, and longest a statement runs. */
  readonly timeoutMs: number;
  /** PEM of the only CA to trust; turns TLS on. */
  readonly ca?: string;
}

/** What is told while a client is open, and how it sends statements. */
export interface ClientOptions {
  /** Its connection ended, for whatever reason. */
  readonly onClose: () => void;
  /** Statements are prepared once on the connection: one round trip each in place of two, and no planning. */
  readonly prepared: boolean;
}

type CustomTypes = { int8: number; textArray: string[]; int8Array: number[] };

/** What the pool hands to a piece of work: tagged templates, fragments and lists; `bigint` columns are safe integers. */
export type Sql = postgres.ISql<CustomTypes>;

/** A client with exactly one connection, opened by its first statement. */
export type Client = postgres.Sql<CustomTypes>;

/** `bigint` as a number; one beyond 2^53 would change in silence, so it is an error. */
const int8 = {
  to: 20,
  from: [20],
  serialize: (value: number) => String(value),
  parse: (text: string) => {
    const value = Number(text);
    if (!Number.isSafeInteger(value)) throw new RangeError('a bigint does not fit a number');
    return value;
  },
};

const textArray = {
  to: 1009,
  from: [1009],
  serialize: (values: string[]) => textArrayOf(values),
  parse: parseTextArray,
};
const int8Array = {
  to: 1016,
  from: [1016],
  serialize: (values: number[]) => int8ArrayOf(values),
  parse: (text: string) => parseTextArray(text).map(int8.parse),
};

/** Opens a client. */
export function openClient(settings: PostgresSettings, { onClose, prepared }: ClientOptions): Client {
  const { ca, timeoutMs } = settings;
  const { url, host } = splitSocket(settings.url);
  return postgres(url, {
    max: 1,
    prepare: prepared,
    connect_timeout: timeoutMs / 1000,
    // The pool retires connections by itself: a lifetime that ends inside a transaction would cut it.
    idle_timeout: 0,
    max_lifetime: null,
    keep_alive: 10,
    backoff: false,
    connection: { application_name: 'doorward' },
    fetch_types: false,
    types: { int8, textArray, int8Array },
    onnotice: () => undefined,
    onclose: onClose,
    ...(host !== undefined && { host }),
    // The driver tells TLS no name where the URL has an address, and then any certificate for `localhost` would do.
    ...(ca !== undefined && { ssl: { ca, rejectUnauthorized: true, host: hostOf(url) } }),
  });
}

const hostOf = (url: string) => new URL(url).hostname.replace(/^\[|\]$/g, '');

/** The URL without `host` in its query, which the driver would send to the server, and that folder. */
export function splitSocket(text: string): { readonly url: string; readonly host: string | undefined } {
  const url = new URL(text);
  const host = url.searchParams.get('host') ?? undefined;
  url.searchParams.delete('host');
  return { url: url.href, host };
}

/** A name as it stands in SQL. */
export const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;
