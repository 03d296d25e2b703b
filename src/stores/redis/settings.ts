// How Redis is reached: one server by URL, the master that Sentinels name, or the nodes of a Cluster; secrets already resolved.

/** A server's address. */
export interface NodeAddress {
  readonly host: string;
  readonly port: number;
}

/** TLS with a verified certificate. */
export interface TlsSettings {
  /** PEM of the only authorities to trust; without it the system's. */
  readonly ca?: string;
  /** Name that certificates must bear, where servers are announced by address. */
  readonly serverName?: string;
}

/** The Sentinels that know the master. */
export interface SentinelSettings {
  /** What the Sentinels call the master. */
  readonly name: string;
  readonly nodes: readonly NodeAddress[];
  readonly user?: string;
  readonly password?: string;
  /** TLS to the Sentinels themselves. */
  readonly tls?: TlsSettings;
}

/** A Cluster: some of its nodes, the others are learned from them. */
export interface ClusterSettings {
  readonly nodes: readonly NodeAddress[];
}

interface SharedSettings {
  /** First part of every key. */
  readonly prefix: string;
  /** Longest a request waits for an answer. */
  readonly timeoutMs: number;
  readonly user?: string;
  readonly password?: string;
  readonly tls?: TlsSettings;
}

/** What connections are made of. */
export type RedisSettings = SharedSettings &
  (
    | {
        /** `redis://` or `rediss://`; may carry user, password and database. */
        readonly url: string;
      }
    | { readonly sentinel: SentinelSettings }
    | { readonly cluster: ClusterSettings }
  );

/** True where a failover may lose what a replica had not got yet: then a write counts once a replica has confirmed it. */
export const isReplicated = (settings: RedisSettings): boolean => !('url' in settings);
