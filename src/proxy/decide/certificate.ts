// A client certificate as the credential of a route that lists `certificate` (design 4.7). TLS has verified it; here it gets the
// words of a principal, under an issuer of its own, so that limits, revocations and records know it as they know tokens.
import type { SidecarConfig } from '../../config/schema.ts';
import type { Clock } from '../../core/clock.ts';
import { certificateIssuerName, type Principal } from '../../core/principal.ts';
import type { Reason } from '../../core/reasons.ts';
import type { ClientCertificate } from '../../http/client-certificate.ts';
import { VerifiedToken } from '../../token/verified-token.ts';
import type { Exchange } from '../exchange.ts';

type Tls = NonNullable<SidecarConfig['proxy']['tls']>;

/** What the certificate of the caller is worth under one configuration: a principal, why it is none, or that there is none. */
export type CertificatePlan = (exchange: Exchange) => VerifiedToken | Reason | undefined;

interface Held {
  readonly plan: CertificatePlan;
  readonly token: VerifiedToken | undefined;
}

/**
 * The certificate that the caller has shown on its own connection. A trusted proxy's says who the proxy is, not who calls
 * through it; what a header says about certificates is never believed (attack 117).
 */
export function callerCertificate({ secure, peer }: Exchange): ClientCertificate | undefined {
  return peer.trusted ? undefined : secure?.client;
}

/** Compiles `proxy.tls.client_*`. The principal is made once per connection and configuration. */
export function certificatePlan(tls: Tls, clock: Clock): CertificatePlan {
  const plan: CertificatePlan = (exchange) => {
    const { secure } = exchange;
    const certificate = callerCertificate(exchange);
    if (certificate === undefined || secure === undefined) return undefined;
    let held = secure.memo as Held | undefined;
    if (held?.plan !== plan) {
      held = { plan, token: tokenOf(certificate, tls) };
      secure.memo = held;
    }
    const { token } = held;
    if (token === undefined) return 'certificate_nameless';
    // It was valid at the handshake; connections live longer.
    const nowMs = clock.nowMs();
    return nowMs < token.notAfterMs && nowMs >= token.notBeforeMs ? token : 'certificate_expired';
  };
  return plan;
}

function tokenOf(certificate: ClientCertificate, tls: Tls): VerifiedToken | undefined {
  const subject = subjectOf(certificate, tls.client_subject);
  if (subject === undefined) return undefined;
  const { digest, thumbprint, serialNumber, notBeforeMs, notAfterMs } = certificate;
  const tokenId = `sha256:${digest}`;
  const principal: Principal = Object.freeze({
    issuerName: certificateIssuerName,
    issuer: tls.client_issuer,
    subject,
    client: subject,
    scopes: Object.freeze([]),
    roles: Object.freeze([]),
    tenant: undefined,
    tokenId,
    session: undefined,
    family: undefined,
    keyId: tokenId,
    issuedAtMs: notBeforeMs,
    expiresAtMs: notAfterMs,
    claims: Object.freeze({
      iss: tls.client_issuer,
      sub: subject,
      nbf: notBeforeMs / 1000,
      exp: notAfterMs / 1000,
      serial_number: serialNumber,
      cnf: Object.freeze({ 'x5t#S256': thumbprint }),
    }),
  });
  return new VerifiedToken(principal, thumbprint, { notBeforeMs, notAfterMs });
}

/** What a subject may be, as in tokens: what is longer no header says, and a NUL (of all control characters) no revocation. */
const SUBJECT = /^\P{Cc}{1,1024}$/u;

function subjectOf(certificate: ClientCertificate, from: Tls['client_subject']): string | undefined {
  const name = nameOf(certificate, from);
  return name !== undefined && SUBJECT.test(name) ? name : undefined;
}

/** Exactly one name of the kind asked for: of several, nobody could say which one the caller acts as. */
function nameOf({ names, commonName }: ClientCertificate, from: Tls['client_subject']): string | undefined {
  if (from === 'common_name') return commonName;
  const kind = from === 'uri' ? 'URI' : 'DNS';
  const found = names.filter((each) => each.kind === kind);
  return found.length === 1 ? found[0]?.name : undefined;
}
