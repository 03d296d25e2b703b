// When the certificates of our listeners expire, for the scrape. A certificate is parsed once, not at each scrape.
import { X509Certificate } from 'node:crypto';
import type { LoadedConfig } from '../config/loaded.ts';
import type { Metrics } from '../telemetry/metrics.ts';

let parsed = new Map<string, number>();

/** Sets `certificate_not_after_seconds` of each listener with TLS to the earliest end among its certificates. */
export function setCertificateGauges({ config, secrets }: LoadedConfig, metrics: Metrics): void {
  const { proxy, admin } = config;
  const certificates = {
    proxy: proxy.tls?.certificates.map(({ certificate }) => secrets.get(certificate)) ?? [],
    admin: admin.tls === undefined ? [] : [secrets.get(admin.tls.certificate)],
  };
  const seen = new Map<string, number>();
  metrics.certificateNotAfter.reset();
  for (const [listener, pems] of Object.entries(certificates)) {
    for (const pem of pems) seen.set(pem, parsed.get(pem) ?? notAfterSeconds(pem));
    if (pems.length === 0) continue;
    const first = Math.min(...pems.map((pem) => seen.get(pem) as number));
    metrics.certificateNotAfter.labels(listener).set(first);
  }
  parsed = seen;
}

/** End of the leaf in a PEM that a listener has taken already. */
const notAfterSeconds = (pem: string): number => new X509Certificate(pem).validToDate.getTime() / 1000;
