// TLS of the proxy port: every pair usable, every host with one certificate, and client certificates only with authorities.
import { certificateIssuerName } from '../../core/principal.ts';
import type { SecretReference } from '../fields.ts';
import { authoritiesProblem, checkCertificate, namesHosts } from './certificates.ts';
import { type CheckContext, refuseRepeated, withSecret } from './context.ts';
import { isHost } from './hosts.ts';

type Pair = {
  readonly certificate: SecretReference;
  readonly key: SecretReference;
  readonly hosts?: readonly string[] | undefined;
};

const PATH = ['proxy', 'tls'];

/** Checks `proxy.tls`. */
export function checkProxyTls(context: CheckContext): void {
  const { tls } = context.config.proxy;
  if (!tls) return;
  for (const [index, pair] of tls.certificates.entries()) checkPair(context, index, pair);
  const hosts = tls.certificates.flatMap((pair) => pair.hosts ?? []).map((host) => host.toLowerCase());
  refuseRepeated(context, hosts, [...PATH, 'certificates'], 'the host');
  withSecret(context, [...PATH, 'client_ca'], tls.client_ca, authoritiesProblem);
  if (tls.client_certificate === 'off' && tls.client_ca)
    context.problem([...PATH, 'client_ca'], 'has no effect with client_certificate: off; say optional or required');
  // Without it node would ask its own list of public authorities, and anybody can buy a certificate of one.
  if (tls.client_certificate !== 'off' && !tls.client_ca)
    context.problem([...PATH, 'client_certificate'], 'needs client_ca: the authorities that may vouch for clients');
  if (tls.client_certificate !== 'off' && context.names.issuers.includes(certificateIssuerName))
    context.problem(
      ['issuers', certificateIssuerName],
      'is what client certificates are known as; choose another name',
      {
        atKey: true,
      },
    );
  const taken = Object.entries(context.config.issuers).find(([, { issuer }]) => issuer === tls.client_issuer);
  if (taken) context.problem([...PATH, 'client_issuer'], `is the issuer of issuers.${taken[0]}`);
}

function checkPair(context: CheckContext, index: number, pair: Pair): void {
  const path = [...PATH, 'certificates', index];
  for (const [at, host] of (pair.hosts ?? []).entries()) {
    if (!isHost(host.replace(/^\*\./, ''))) context.problem([...path, 'hosts', at], 'needs a host name, or *. and one');
  }
  const usable = checkCertificate(context, path, pair);
  if (usable && pair.hosts === undefined && !namesHosts(context.secrets.get(pair.certificate)))
    context.problem(path, 'has a certificate without alternative names: list its hosts');
}
