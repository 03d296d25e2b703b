// Opens the proxy port as the configuration has it, and gives it new certificates on reload.
import type { LoadedConfig } from '../config/loaded.ts';
import { type Listener, type ListenerHandlers, listen, listenAddress } from '../http/listener.ts';
import type { ListenerTls } from '../http/tls.ts';

/** The proxy port while it is open. */
export interface ProxyPort extends AsyncDisposable {
  readonly listener: Listener;
  readonly url: string;
  /** Takes over the certificates of a new configuration; connections keep theirs. Throws for what cannot be used. */
  use(loaded: LoadedConfig): void;
}

/**
 * Opens it; rejects with the system's error when the address cannot be bound. `sharedPort`: in place of the configured one,
 * where several processes listen on it and the system spreads connections among them.
 */
export async function openProxyPort(
  loaded: LoadedConfig,
  handlers: ListenerHandlers,
  sharedPort?: number,
): Promise<ProxyPort> {
  const { proxy } = loaded.config;
  const limits = {
    headerBytes: proxy.header_size,
    headerTimeoutMs: proxy.header_timeout,
    keepAliveMs: proxy.keep_alive,
    sendTimeoutMs: proxy.send_timeout,
    maxConnections: proxy.max_connections,
    http2Streams: proxy.http2 ? proxy.http2_streams : undefined,
  };
  const shared = sharedPort === undefined ? {} : { port: sharedPort, reusePort: true };
  const at = { ...listenAddress(proxy.listen), ...shared };
  const listener = await listen(at, limits, handlers, tlsOf(loaded));
  return {
    listener,
    url: `${proxy.tls === undefined ? 'http' : 'https'}://${listener.address}`,
    use(next) {
      const tls = tlsOf(next);
      if (tls !== undefined) listener.useTls(tls);
    },
    [Symbol.asyncDispose]: () => listener[Symbol.asyncDispose](),
  };
}

function tlsOf({ config, secrets }: LoadedConfig): ListenerTls | undefined {
  const { tls } = config.proxy;
  if (tls === undefined) return undefined;
  return {
    certificates: tls.certificates.map(({ certificate, key, hosts }) => ({
      certificate: secrets.get(certificate),
      key: secrets.get(key),
      hosts,
    })),
    minVersion: tls.min_version,
    unknownHost: tls.unknown_host,
    clientCa: tls.client_ca && secrets.get(tls.client_ca),
    clientOptional: tls.client_certificate === 'optional',
  };
}
