// `doorward check`: whether a configuration holds, what it serves, and with --production or --online whether it is fit to go
// out. Offline unless told otherwise, so that it runs in CI without secrets of other systems.
import type { Command } from 'commander';
import type { LoadedConfig } from '../config/loaded.ts';
import { matchText } from '../config/match-text.ts';
import { isOverdue, shadowText } from '../config/shadow.ts';
import { systemClock } from '../core/clock.ts';
import { CliError } from './exit-codes.ts';
import { loadOrExplain } from './load-config.ts';
import { type Terminal, tableLines } from './terminal.ts';

interface CheckOptions {
  readonly config: string;
  readonly online?: boolean;
  readonly production?: boolean;
  readonly json?: boolean;
}

/** Adds the verb. */
export function addCheck(program: Command, terminal: Terminal): void {
  program
    .command('check')
    .description('check a configuration, print its routes and what it relaxes')
    .option('-c, --config <file>', 'configuration', 'sidecar.yaml')
    .option('--online', 'also reach issuers, Redis, PostgreSQL and upstreams')
    .option(
      '--production',
      'refuse what must not go out: memory stores, written secrets, open routes, and shadow mode without an end or past it',
    )
    .option('--json', 'print JSON')
    .action((options: CheckOptions) => check(options, terminal));
}

async function check(options: CheckOptions, terminal: Terminal): Promise<void> {
  const loaded = await load(options, terminal);
  const { relaxations } = await import('../config/relaxations.ts');
  const { overdueProblems, productionProblems } = await import('../config/production.ts');
  const { formatProblem } = await import('../config/problem.ts');
  const leftovers = overdueProblems(loaded, systemClock.nowMs());
  const refused = options.production ? [...productionProblems(loaded), ...leftovers].map(formatProblem) : [];
  const online = options.online ? await (await import('./check-online.ts')).checkOnline(loaded) : [];
  const said = options.production ? loaded.warnings : [...loaded.warnings, ...leftovers];
  const warnings = said.map(formatProblem);
  const relaxed = relaxations(loaded, systemClock.nowMs()).map(formatProblem);
  const report = {
    ok: refused.length === 0 && online.every(({ ok }) => ok),
    hash: loaded.hash,
    routes: routesOf(loaded),
  };
  if (options.json) terminal.out(JSON.stringify({ ...report, relaxed, warnings, refused, online }));
  else {
    printRoutes(loaded, terminal);
    for (const each of relaxed) terminal.out(`relaxed: ${each}`);
    for (const warning of warnings) terminal.err(`warning: ${warning}`);
    for (const { ok, what, detail } of online) terminal.out(`${ok ? 'ok    ' : 'FAILED'} ${what}: ${detail}`);
  }
  const summary = options.json ? '' : `${options.config} `;
  if (refused.length > 0) {
    throw new CliError('configuration_refused', [...refused, `${summary}is not fit for production`].join('\n'));
  }
  if (!report.ok) throw new CliError('failure', `${summary}holds, but not everything it names can be used`);
  if (!options.json) terminal.out(`${options.config} holds (hash ${loaded.hash.slice(0, 12)})`);
}

async function load({ config: file, json }: CheckOptions, terminal: Terminal): Promise<LoadedConfig> {
  const { formatProblem } = await import('../config/problem.ts');
  return loadOrExplain(file, terminal, (problems) => {
    if (json) terminal.out(JSON.stringify({ ok: false, problems: problems.map(formatProblem) }));
  });
}

function routesOf({ config }: LoadedConfig) {
  const nowMs = systemClock.nowMs();
  return Object.entries(config.routes).map(([name, route]) => ({
    name,
    match: matchText(route.match),
    upstream: route.upstream ?? Object.keys(config.upstreams)[0] ?? '',
    auth: route.auth,
    issuers: route.auth === 'none' ? [] : (route.issuers ?? []),
    limits: route.limits ?? config.defaults.limits,
    mode: isOverdue(route, nowMs) ? 'enforce' : route.mode,
    shadow: shadowText(route, nowMs),
    relax: route.relax,
  }));
}

function printRoutes(loaded: LoadedConfig, terminal: Terminal): void {
  const routes = routesOf(loaded);
  const rows = routes.map(({ name, match, upstream, auth, issuers, limits, shadow }) => [
    name,
    match,
    upstream,
    shadow === undefined ? auth : `${auth} (${shadow})`,
    issuers.join(',') || '-',
    limits.join(',') || '-',
  ]);
  for (const line of tableLines([['ROUTE', 'MATCH', 'UPSTREAM', 'AUTH', 'ISSUERS', 'LIMITS'], ...rows]))
    terminal.out(line);
}
