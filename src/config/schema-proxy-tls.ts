// TLS of the proxy port: certificates by server name, and client certificates as credentials.
import { z } from 'zod';
import { doc, secret } from './fields.ts';

const certificate = z.strictObject({
  certificate: secret().meta(doc('PEM of the certificate and its chain, the leaf first.')),
  key: secret().meta(doc('PEM of its private key.')),
  hosts: z
    .array(z.string().min(1))
    .min(1)
    .optional()
    .meta(doc('Hosts it is for, `*.example.com` for one label; default: the alternative names in the certificate.')),
});

/** The block `proxy.tls`. */
export const proxyTls = z.strictObject({
  certificates: z
    .array(certificate)
    .min(1)
    .meta(doc('By server name; the first serves clients that name none. Followed when their files change.')),
  min_version: z
    .enum(['TLSv1.2', 'TLSv1.3'])
    .prefault('TLSv1.2')
    .meta(doc('Oldest version spoken. The ciphers are those of Node.')),
  unknown_host: z
    .enum(['refuse', 'first'])
    .prefault('refuse')
    .meta(
      doc(
        'A host that no certificate is for. refuse: no handshake for such a server name, 421 for such a Host. first: served with the first certificate; 421 only where another certificate is for the Host.',
      ),
    ),
  client_certificate: z
    .enum(['off', 'optional', 'required'])
    .prefault('off')
    .meta(
      doc('Whether clients show a certificate; a bad one is refused with optional too. Needs client_ca.', 'restart'),
    ),
  client_ca: secret()
    .optional()
    .meta(doc('PEM of the only authorities of client certificates; with it no TLS session is resumed.')),
  client_subject: z
    .enum(['uri', 'dns', 'common_name'])
    .prefault('uri')
    .meta(
      doc(
        'Which name of a client certificate is its subject: the one URI (SPIFFE), the one DNS name, or the common name; none or several is 401.',
      ),
    ),
  client_issuer: z
    .string()
    .min(1)
    .prefault('urn:doorward:client-certificate')
    .meta(doc('What stands for `iss` of client certificates in limits, revocations, identity headers and records.')),
});
