// One connection to one url of an upstream, as the data plane would make it; for `check --online`.
import type { LoadedConfig } from '../config/loaded.ts';
import type { UpstreamConfig } from '../config/schema.ts';
import { placeOf, serverNameOf } from '../proxy/outbound/endpoints/place.ts';
import { dial, readyEvent, tlsContext } from '../proxy/outbound/http1/dial.ts';
import { tlsMaterial } from './upstreams.ts';

/** Connects, verifies the certificate of an https url, and closes again. Never rejects; `detail` is for people. */
export function probeUpstream(
  url: string,
  upstream: UpstreamConfig,
  loaded: LoadedConfig,
): Promise<{ readonly ok: boolean; readonly detail: string }> {
  const { promise, resolve } = Promise.withResolvers<{ readonly ok: boolean; readonly detail: string }>();
  const place = placeOf(url);
  const tls = place.isTls
    ? { context: tlsContext(tlsMaterial(upstream, loaded)), serverName: serverNameOf(place, upstream) }
    : undefined;
  const socket = dial(place.address, tls);
  const end = (ok: boolean, detail: string) => {
    socket.destroy();
    resolve({ ok, detail });
  };
  socket.setTimeout(upstream.connect_timeout, () => end(false, 'does not accept in connect_timeout'));
  socket.once(readyEvent(tls), () => end(true, 'accepts connections'));
  socket.on('error', ({ message }) => end(false, message));
  return promise;
}
