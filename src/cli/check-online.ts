// What `check --online` adds: everything the configuration names is reached once, from where the command runs.
import { readFileSync } from 'node:fs';
import { probeRedis } from '../app/probe-redis.ts';
import { probeUpstream } from '../app/probe-upstream.ts';
import { openSchemaDesk } from '../app/schema-desk.ts';
import type { LoadedConfig } from '../config/loaded.ts';
import type { UpstreamConfig } from '../config/schema.ts';
import { systemClock } from '../core/clock.ts';
import { openIssuer } from '../token/issuers.ts';

/** One thing that was tried. */
export interface OnlineResult {
  readonly what: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** Reaches every issuer with remote keys, Redis, PostgreSQL and every upstream, all at once. */
export async function checkOnline(loaded: LoadedConfig): Promise<readonly OnlineResult[]> {
  const { issuers, upstreams } = loaded.config;
  const remote = Object.keys(issuers).filter((name) => issuers[name]?.sign === undefined);
  const results = await Promise.all([
    ...remote.map((name) => checkIssuer(name, loaded)),
    checkRedis(loaded),
    checkPostgres(loaded),
    ...Object.entries(upstreams).map(([name, upstream]) => checkUpstream(name, upstream, loaded)),
  ]);
  return results.flat();
}

async function checkIssuer(name: string, loaded: LoadedConfig): Promise<OnlineResult> {
  const what = `issuers.${name}`;
  let refused: string | undefined;
  try {
    await using issuer = openIssuer(name, loaded.config.issuers[name] as never, {
      secrets: (reference) => loaded.secrets.get(reference),
      readFile: (path) => readFileSync(path, 'utf8'),
      clock: systemClock,
      onRefresh: ({ outcome, detail }) => {
        if (outcome !== 'ok') refused = detail ?? outcome;
      },
    });
    await issuer.keys.warm();
    const { ready, keys, kids } = issuer.keys.state();
    if (!ready) return { what, ok: false, detail: refused ?? 'no keys' };
    return { what, ok: true, detail: `${keys} keys (${kids.join(', ')})` };
  } catch (error) {
    return { what, ok: false, detail: messageOf(error) };
  }
}

async function checkRedis(loaded: LoadedConfig): Promise<OnlineResult[]> {
  const probe = await probeRedis(loaded);
  return probe === undefined ? [] : [{ what: 'redis', ...probe }];
}

/** Pending migrations are no failure where the next start applies them. */
async function checkPostgres(loaded: LoadedConfig): Promise<OnlineResult[]> {
  const desk = openSchemaDesk(loaded);
  if (desk === undefined) return [];
  try {
    const { server, pending } = await desk.status();
    const waits = pending.map(({ number }) => number).join(', ');
    const ok = pending.length === 0 || loaded.config.postgres?.migrate === 'start';
    return [{ what: 'postgres', ok, detail: `${server}${waits && `, migrations pending: ${waits}`}` }];
  } catch (error) {
    return [{ what: 'postgres', ok: false, detail: messageOf(error) }];
  }
}

function checkUpstream(name: string, upstream: UpstreamConfig, loaded: LoadedConfig): Promise<OnlineResult[]> {
  const several = upstream.url.length > 1;
  const check = async (url: string, at: number) => {
    const what = `upstreams.${name}${several ? `.url[${at}]` : ''}`;
    return { what, ...(await probeUpstream(url, upstream, loaded)) };
  };
  return Promise.all(upstream.url.map(check));
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
