// Redis and PostgreSQL, and what is allowed while they are away.
import { authoritiesProblem, checkCertificate } from './certificates.ts';
import { type Check, withSecret } from './context.ts';
import { signingKeyProblem } from './key-material.ts';
import { checkRedis } from './redis.ts';
import { certificateProblem } from './upstreams.ts';

/** Checks `redis`, `postgres`, `audit`, `admin.tls` and `revocation`. */
export const checkStores: Check = (context) => {
  checkPostgres(context);
  checkAudit(context);
  checkAdminTls(context);
  const { revocation } = context.config;
  if (revocation.on_store_down === 'allow') {
    context.warn(['revocation', 'on_store_down'], 'allow accepts revoked tokens while Redis is away');
  }
  checkRedis(context);
};

const checkPostgres: Check = (context) => {
  const { postgres } = context.config;
  if (!postgres) return;
  const { url, embedded, tls } = postgres;
  if (embedded && url) context.problem(['postgres', 'url'], 'is given together with embedded: choose one');
  if (!embedded && !url) context.problem(['postgres'], 'needs url, or embedded: true to try it out');
  if (embedded && context.config.redis)
    context.problem(['postgres', 'embedded'], 'is for one replica: replicas that share Redis share a PostgreSQL too');
  withSecret(context, ['postgres', 'tls', 'ca'], tls?.ca, certificateProblem);
  withSecret(context, ['postgres', 'url'], url, postgresUrlProblem);
};

const LEAST_RETENTION_MS = 7 * 86_400_000;

/** TLS that cannot work refuses the start (attack 128). */
const checkAdminTls: Check = (context) => {
  const { tls } = context.config.admin;
  if (!tls) return;
  withSecret(context, ['admin', 'tls', 'client_ca'], tls.client_ca, authoritiesProblem);
  checkCertificate(context, ['admin', 'tls'], tls);
};

const checkAudit: Check = (context) => {
  const { audit, postgres } = context.config;
  if (!audit) return;
  if (!postgres) context.warn(['audit'], 'has no effect without postgres: audit events are log lines only');
  if (audit.retention < LEAST_RETENTION_MS) context.problem(['audit', 'retention'], 'needs at least 7d');
  withSecret(context, ['audit', 'signing_key'], audit.signing_key, (pem) => signingKeyProblem(pem, 'EdDSA'));
};

function postgresUrlProblem(text: string): string | undefined {
  const url = URL.parse(text);
  const form = 'needs a postgres:// URL with host and database, such as postgres://user@host:5432/doorward';
  if (!url || !/^postgres(ql)?:$/.test(url.protocol) || url.hostname === '') return form;
  return /^\/[^/]+$/.test(url.pathname) ? undefined : form;
}
