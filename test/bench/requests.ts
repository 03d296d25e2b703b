// Single requests, for readiness and for the checks before measuring. Loads are load.ts's and latency.ts's.
import { request } from 'node:http';

/** Path and query of every request of the load. */
export const target = '/api/items/42?view=full';

/** Status of one GET on its own connection; rejects when there is no whole answer within 2 s. */
export function fetchStatus(
  port: number,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<number> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path, headers, agent: false, timeout: 2000 };
    const sent = request(options, (response) => {
      response.resume();
      response.once('error', reject);
      response.once('end', () => resolve(response.statusCode ?? 0));
    });
    sent.once('timeout', () => sent.destroy(new Error('timeout')));
    sent.once('error', reject);
    sent.end();
  });
}
