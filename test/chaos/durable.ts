// Whether PostgreSQL remembers every revocation that was confirmed: asked past the sidecars, and past the relay before it.
import postgres from 'postgres';
import { splitSocket } from '../../src/stores/postgres/connection.ts';

/** Those of `ids` (`jti` of revoked tokens) that the server at `serverUrl` has no revocation of. */
export async function forgotten(serverUrl: string, ids: readonly string[]): Promise<readonly string[]> {
  const { url, host } = splitSocket(serverUrl);
  const sql = postgres(url, { ...(host !== undefined && { host }), max: 1, onnotice: () => undefined });
  try {
    const rows = await sql<{ revoked_id: string }[]>`
      select revoked_id from doorward.revocation where kind = 'token' and undone_at is null`;
    const kept = new Set(rows.map(({ revoked_id: id }) => id));
    return ids.filter((id) => !kept.has(id));
  } finally {
    await sql.end({ timeout: 0 });
  }
}
