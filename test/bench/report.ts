// What a run found, as tables: Markdown that reads well on a terminal too, and goes into the README as it is.
import type { Latency } from './latency.ts';
import { acceptance, type RefusalCost } from './refusals.ts';
import type { Soak } from './soak.ts';
import { median, type Spread, spread } from './statistics.ts';
import type { Rounds } from './throughput.ts';

/** Everything one run found; what was not measured is undefined. */
export interface Findings {
  readonly at: string;
  readonly command: string;
  /** Too short for figures to mean anything: no verdicts on targets. */
  readonly smoke: boolean;
  readonly machine: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly load: string;
  readonly about: ReadonlyMap<string, string>;
  readonly rounds: Rounds;
  readonly start?: Spread | undefined;
  readonly latency?: Latency | undefined;
  readonly refusals?: readonly RefusalCost[] | undefined;
  readonly soak?: Soak | undefined;
}

/** Least ratio of throughput to each peer (design 8). */
const wanted = { 'pass-through': 0.85, haproxy: 2, fastify: 4, 'fastify-no-cache': 4 };

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string => {
  const widths = head.map((cell, at) => Math.max(cell.length, ...rows.map((row) => (row[at] ?? '').length)));
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join(' | ')} |`;
  const rule = `|${widths.map((width, at) => (at === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [line(head), rule, ...rows.map(line)].join('\n');
};

const range = ({ min, median, max }: Spread, digits: number) =>
  `${min.toFixed(digits)} **${median.toFixed(digits)}** ${max.toFixed(digits)}`;

/** Quotient of two peers, round by round; `more`: of throughput, `cpu`: of the other's CPU per request over ours. */
export function ratios(
  rounds: Rounds,
  name: string,
  to: string,
): { readonly more: Spread; readonly cpu: Spread } | undefined {
  const [ours, theirs] = [rounds.get(name) ?? [], rounds.get(to) ?? []];
  if (ours.length === 0 || ours.length !== theirs.length) return undefined;
  const pairs = ours.map((round, at) => ({ round, other: theirs[at] as typeof round }));
  return {
    more: spread(pairs.map(({ round, other }) => round.requestsPerSecond / other.requestsPerSecond)),
    cpu: spread(pairs.map(({ round, other }) => other.cpuUs / round.cpuUs)),
  };
}

const percent = (shares: readonly number[]) => `${(median(shares) * 100).toFixed(0)} %`;

function throughputTable({ rounds }: Findings): string {
  const rows = [...rounds].map(([name, all]) => [
    name,
    range(spread(all.map((round) => round.requestsPerSecond)), 0),
    range(spread(all.map((round) => round.cpuUs)), 1),
    percent(all.map((round) => round.busy)),
    percent(all.map((round) => round.others)),
    spread(all.map((round) => round.residentMb)).max.toFixed(0),
  ]);
  return table(['peer', 'requests/s (min median max)', 'CPU µs per request', 'core used', 'by others', 'MB'], rows);
}

/** Doorward (or the first peer) against all others. */
function ratioTable({ rounds }: Findings): string | undefined {
  const names = [...rounds.keys()];
  const ours = names.includes('doorward') ? 'doorward' : (names[0] ?? '');
  const rows = names.flatMap((other) => {
    const ratio = other === ours ? undefined : ratios(rounds, ours, other);
    return ratio === undefined ? [] : [[`${ours} to ${other}`, range(ratio.more, 2), range(ratio.cpu, 2)]];
  });
  const head = ['round by round (min median max)', 'times the throughput', 'times less CPU per request'];
  return rows.length === 0 ? undefined : table(head, rows);
}

/** Why the figures should not be believed, if so. */
function disturbance({ rounds }: Findings): readonly string[] {
  const most = Math.max(...[...rounds.values()].flat().map((round) => round.others));
  if (most < 0.05) return [];
  const share = (most * 100).toFixed(0);
  return [`Not a quiet machine: others took up to ${share} % of the peer's core. Repeat before believing any of this.`];
}

interface Target {
  readonly measure: string;
  readonly target: string;
  readonly measured: string;
  /** Undefined: a figure to know, without a target. */
  readonly met: boolean | undefined;
}

function throughputTargets({ rounds }: Findings): Target[] {
  const revoked = ratios(rounds, 'doorward-revoked', 'doorward')?.more.median;
  if (revoked !== undefined) {
    const measured = `${((revoked - 1) * 100).toFixed(1)} %`;
    return [{ measure: 'throughput with the revocations', target: 'within 5 %', measured, met: revoked >= 0.95 }];
  }
  return Object.entries(wanted).flatMap(([name, least]) => {
    const ratio = ratios(rounds, 'doorward', name);
    if (ratio === undefined) return [];
    const measured = `${ratio.more.median.toFixed(2)} (CPU ${ratio.cpu.median.toFixed(2)})`;
    return [{ measure: `throughput to ${name}`, target: `${least}`, measured, met: ratio.more.median >= least }];
  });
}

function targets(found: Findings): readonly Target[] {
  const all = throughputTargets(found);
  const { latency, refusals, soak, start } = found;
  const ms = (us: number) => `${(us / 1000).toFixed(3)} ms`;
  if (latency !== undefined) {
    const { p50Us, p99Us } = latency.added;
    const at = `at ${latency.rate}/s`;
    all.push({ measure: `added latency p50 ${at}`, target: '< 0.3 ms', measured: ms(p50Us), met: p50Us < 300 });
    all.push({ measure: `added latency p99 ${at}`, target: '< 1 ms', measured: ms(p99Us), met: p99Us < 1000 });
  }
  const acceptanceUs = refusals?.find(({ kind }) => kind === acceptance)?.cpuUs ?? 0;
  for (const { kind, cpuUs, bounded } of refusals ?? []) {
    if (kind === acceptance) continue;
    const measured = `${cpuUs.toFixed(1)} µs CPU`;
    // Without its limit a signature has to be verified each time: no cached acceptance can cost more than that.
    if (bounded)
      all.push({ measure: kind, target: `< ${acceptanceUs.toFixed(1)} µs`, measured, met: cpuUs < acceptanceUs });
    else all.push({ measure: kind, target: '', measured, met: undefined });
  }
  if (start !== undefined) {
    all.push({
      measure: 'start to ready',
      target: '< 500 ms',
      measured: `${start.median.toFixed(0)} ms`,
      met: start.median < 500,
    });
  }
  if (soak !== undefined) {
    const measure = `memory after ${soak.minutes} min, ${soak.tokens} tokens`;
    const measured = `${soak.first.toFixed(1)} to ${soak.last.toFixed(1)}, most ${soak.most.toFixed(1)} MB`;
    // Flat: within 5 % between the first and the last fifth.
    const met = soak.most < 130 && soak.last <= soak.first * 1.05;
    all.push({ measure, target: '< 130 MB, flat', measured, met });
  }
  return all;
}

/** The whole report in Markdown. */
export function markdown(found: Findings): string {
  const versions = Object.entries(found.versions).map(([name, version]) => `${name} ${version}`);
  const parts = [
    `\`${found.command}\` on ${found.machine}, ${found.at.slice(0, 10)}. ${versions.join(', ')}. ${found.load}`,
  ];
  if (found.rounds.size > 0) {
    parts.push(throughputTable(found));
    const ratio = ratioTable(found);
    if (ratio !== undefined) parts.push(ratio);
    parts.push(...disturbance(found));
    parts.push([...found.about].map(([name, about]) => `- ${name}: ${about}`).join('\n'));
  }
  if (found.latency !== undefined) {
    const { doorward, passThrough } = found.latency;
    const row = (name: string, it: typeof doorward) => [
      name,
      (it.p50Us / 1000).toFixed(3),
      (it.p99Us / 1000).toFixed(3),
    ];
    const rows = [row('pass-through', passThrough), row('doorward', doorward), row('added', found.latency.added)];
    parts.push(table([`latency at ${found.latency.rate}/s`, 'p50 ms', 'p99 ms'], rows));
  }
  if (found.refusals !== undefined) {
    const rows = found.refusals.map((cost) => [cost.kind, cost.requestsPerSecond.toFixed(0), cost.cpuUs.toFixed(1)]);
    parts.push(table(['refusal', 'requests/s', 'CPU µs per request'], rows));
  }
  const goals = (found.smoke ? [] : targets(found)).map((row) => [
    row.measure,
    row.target,
    row.measured,
    row.met === undefined ? '' : row.met ? 'yes' : 'no',
  ]);
  if (goals.length > 0) parts.push(table(['measure', 'target', 'measured', 'met'], goals));
  return `${parts.join('\n\n')}\n`;
}
