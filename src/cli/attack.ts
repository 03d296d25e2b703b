// `doorward attack`: the security run before going live. Fires the published attacks at the operator's configuration, started
// once more in this process before a recorder, or with --url at a running sidecar, of which only the answers can be seen.
// Ends with 0 only when not one attack got through and every one was judged.
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { systemClock } from '../core/clock.ts';
import { parseDuration } from '../core/units.ts';
import { progressLines } from './attack-progress.ts';
import type { Firing, Outcome, Verdict } from './attack-run.ts';
import type { AttackTarget } from './attack-target.ts';
import { CliError } from './exit-codes.ts';
import { loadOrExplain } from './load-config.ts';
import { readToken, type Terminal, tableLines } from './terminal.ts';
import { version } from './version.ts';

interface AttackOptions {
  readonly config: string;
  readonly url?: string;
  readonly path?: readonly string[];
  readonly openPath?: string;
  readonly tokenFile?: string;
  readonly ca?: string;
  readonly rate: string;
  readonly timeout: string;
  readonly allowUnclear?: boolean;
  readonly json?: boolean;
}

/** Adds the verb. */
export function addAttack(program: Command, terminal: Terminal): void {
  program
    .command('attack')
    .description('fire the published attacks at a configuration, or at a running sidecar, and count what gets through')
    .option('-c, --config <file>', 'configuration to start once more, before a recorder', 'sidecar.yaml')
    .option('--url <url>', 'a running sidecar instead; only its answers can be judged')
    .option('--path <path...>', 'paths that need a token; required with --url, else the routes with authentication')
    .option('--open-path <path>', 'with --url: a path of the same host that needs none, to get out of')
    .option('--token-file <file>', 'with --url: an accepted token to tamper with; - for standard input')
    .option('--ca <file>', 'with --url: PEM of the authority of its certificate')
    .option('--rate <n>', 'with --url: at most so many requests a second', '10')
    .option('--timeout <duration>', 'bound of the whole run', '5m')
    .option('--allow-unclear', 'do not fail for attacks that could not be judged')
    .option('--json', 'print JSON')
    .action((options: AttackOptions) => attack(options, terminal));
}

async function attack(options: AttackOptions, terminal: Terminal): Promise<void> {
  const limitMs = parseDuration(options.timeout);
  if (limitMs === undefined) throw new CliError('usage', '--timeout needs a duration such as 5m');
  const untilMs = performance.now() + limitMs;
  const shared = {
    timeoutMs: 2000,
    hasTime: () => performance.now() < untilMs,
    onTarget: ({ name, host, path }: AttackTarget, shots: number) =>
      terminal.err(`${name} (${host}${path}): ${shots} requests`),
    onProgress: progressLines(terminal.err, () => performance.now()),
  };
  const agent = `doorward-attack/${version()}`;
  const outcomes =
    options.url === undefined
      ? await attackConfiguration(options, terminal, agent, shared)
      : await attackUrl(options.url, options, terminal, agent, shared);
  report(outcomes, options, terminal);
}

type Shared = Pick<Firing, 'timeoutMs' | 'hasTime' | 'onTarget' | 'onProgress'>;

async function attackConfiguration(options: AttackOptions, terminal: Terminal, agent: string, shared: Shared) {
  const [{ openScene }, { aimAtPaths, aimAtRoutes }, { fireAll, isAccepted }, { withToken }] = await Promise.all([
    import('./attack-scene.ts'),
    import('./attack-aim.ts'),
    import('./attack-run.ts'),
    import('./attack-target.ts'),
  ]);
  const loaded = await loadOrExplain(options.config, terminal);
  await using scene = await openScene(loaded, terminal);
  const firing: Firing = { ...shared, door: scene.door, recorder: scene.recorder, pauseMs: 0 };
  const named = aimAtPaths(options.path ?? [], { host: 'doorward-attack.invalid', agent });
  const aimed = [...aimAtRoutes(loaded, scene, agent, systemClock.nowMs()), ...named];
  const open = Object.entries(loaded.config.routes).filter(([, { auth }]) => auth === 'none');
  for (const [name] of open) terminal.err(`${name}: open to everybody, not attacked (name its paths with --path)`);
  const targets: AttackTarget[] = [];
  for (const target of aimed) {
    const works =
      target.token !== undefined && (await isAccepted(withToken(target, target.token), target.host, firing));
    if (!works && target.forge !== undefined)
      terminal.err(`${target.name}: no token that it accepts could be made; attacks that need one are left out`);
    targets.push(works ? target : { ...target, token: undefined, forge: undefined });
  }
  // Awaited here: the scene ends with this function.
  return await fireAll(targets, firing);
}

async function attackUrl(url: string, options: AttackOptions, terminal: Terminal, agent: string, shared: Shared) {
  const [{ aimAtPaths }, { fireAll }] = await Promise.all([import('./attack-aim.ts'), import('./attack-run.ts')]);
  const rate = Number(options.rate);
  if (!(rate > 0 && rate <= 1000)) throw new CliError('usage', '--rate needs a number from 1 to 1000');
  if (options.path === undefined) throw new CliError('usage', '--url needs --path: which paths need a token');
  const { protocol, hostname, port, host } = parseUrl(url);
  const isTls = protocol === 'https:';
  const ca = options.ca === undefined ? undefined : readFileSync(options.ca, 'utf8');
  const door = () => ({
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port) || (isTls ? 443 : 80),
    ...(isTls && { tls: { serverName: hostname, ca, verify: true } }),
  });
  const token = options.tokenFile === undefined ? undefined : await readToken(options.tokenFile, terminal);
  const targets = aimAtPaths(options.path, {
    ...{ host, agent },
    ...(options.openPath !== undefined && { open: options.openPath }),
    ...(token !== undefined && { token }),
  });
  try {
    return await fireAll(targets, { ...shared, door, recorder: undefined, pauseMs: 1000 / rate });
  } catch (error) {
    throw new CliError('sidecar_unreachable', `${url}: ${(error as Error).message}`, { cause: error });
  }
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol))
    throw new CliError('usage', '--url needs an http(s):// URL');
  return url;
}

function report(outcomes: readonly Outcome[], options: AttackOptions, terminal: Terminal): void {
  const count = (verdict: Verdict) => outcomes.filter((outcome) => outcome.verdict === verdict).length;
  const [bypasses, refused] = [count('bypass'), count('refused')];
  const judged = bypasses + refused;
  const open = outcomes.length - judged;
  const rate = judged === 0 ? 0 : (100 * bypasses) / judged;
  const ok = bypasses === 0 && judged > 0 && (open === 0 || options.allowUnclear === true);
  if (options.json)
    terminal.out(JSON.stringify({ ok, requests: outcomes.length, judged, bypasses, bypass_rate: rate, outcomes }));
  else for (const line of lines(outcomes)) terminal.out(line);
  const summary = `${judged} of ${outcomes.length} requests judged, ${bypasses} got through: bypass rate ${rate.toFixed(rate === 0 ? 0 : 2)} %`;
  if (ok) {
    if (!options.json) terminal.out(summary);
    return;
  }
  if (outcomes.length === 0) throw new CliError('failure', 'nothing to attack: no route asks for a token');
  throw new CliError('failure', bypasses === 0 ? `${summary}; ${open} could not be judged` : summary);
}

/** One line for each attack, and one for each request of it that was not refused. */
function lines(outcomes: readonly Outcome[]): string[] {
  const rows = [...Map.groupBy(outcomes, ({ id, name }) => `${id}\n${name}`)].map(([key, all]) => {
    const [id, name] = key.split('\n') as [string, string];
    const bad = all.filter(({ verdict }) => verdict !== 'refused');
    const worst = bad.find(({ verdict }) => verdict === 'bypass') ?? bad[0];
    return {
      cells: [id, worst?.verdict.toUpperCase() ?? 'refused', `${all.length - bad.length}/${all.length}`, name],
      bad,
    };
  });
  const table = tableLines([['ATTACK', 'VERDICT', 'REFUSED', ''], ...rows.map(({ cells }) => cells)]);
  return [
    table[0] as string,
    ...rows.flatMap(({ bad }, at) => [
      table[at + 1] as string,
      ...bad.map(({ target, what, verdict, status }) => `        ${verdict} ${target}: ${what} (${status})`),
    ]),
  ];
}
