// Figures of everything that is kept, read from the views statistics_*: what people see with psql and what the API answers
// is one and the same.
import type { Statistics } from '../contracts/statistics.ts';
import type { Postgres } from './pool.ts';

/** Audit logs of years are counted whole. */
const TIMEOUT_MS = 10_000;

/** {@link Statistics} over PostgreSQL, as of one moment. Rejects with `store_unavailable`. */
export function readStatistics(postgres: Postgres): Promise<Statistics> {
  return postgres.run(
    'statistics.read',
    async (sql) => ({
      clients: await sql<Statistics['clients'][number][]>`
        select issuer, tier, state, external, clients from statistics_client order by issuer, tier, state, external`,
      grants: await sql<Statistics['grants'][number][]>`
        select issuer, families, codes from statistics_grant order by issuer`,
      tokens: await sql<Statistics['tokens'][number][]>`
        select to_char(day, 'YYYY-MM-DD') as day, type, outcome, events from statistics_token_day
        order by day desc, type, outcome`,
      revocations: await sql<Statistics['revocations'][number][]>`
        select kind, active from statistics_revocation order by kind`,
      signingKeys: await sql<Statistics['signingKeys'][number][]>`
        select issuer, state, keys from statistics_signing_key order by issuer, state`,
      webauthnCredentials: await sql<Statistics['webauthnCredentials'][number][]>`
        select tenant, data_key as "dataKey", credentials from statistics_webauthn_credential order by tenant, data_key`,
      operators: await sql<Statistics['operators'][number][]>`
        select role, state, operators from statistics_operator order by role, state`,
      audit: await sql<Statistics['audit'][number][]>`
        select type, category, severity, outcome, events from statistics_audit order by type, outcome`,
    }),
    { timeoutMs: TIMEOUT_MS },
  );
}

/** How much there is of what grows with use: for a gauge, so cheap enough for every minute. Rejects with `store_unavailable`. */
export async function countRecords(postgres: Postgres): Promise<Readonly<Record<string, number>>> {
  const [counts] = await postgres.run(
    'statistics.count',
    (sql) => sql<Record<string, number>[]>`
      select (select count(*) from client where removed_at is null) as clients,
        (select count(*) from token_family where ended_at is null and idle_until > now()) as token_families,
        (select count(*) from webauthn_credential) as credentials,
        (select count(*) from operator) as operators,
        (select count(*) from revocation where undone_at is null and (until is null or until > now())) as revocations`,
  );
  return { ...counts };
}
