// A real Prometheus that scrapes every second, in a folder of its own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '../rows/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { ensureCommand } from '../support/system-packages.ts';
import { rulesFile } from './promtool.ts';

/** One series of an answer: labels, and the newest value. */
export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

/** One series over time; times in seconds. */
export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly values: readonly (readonly [number, string])[];
}

/** A span of time in Unix seconds, and the distance of what is asked for. */
export interface TimeRange {
  readonly startS: number;
  readonly endS: number;
  readonly stepS: number;
}

/** A running Prometheus, with the shipped rules. */
export interface Prometheus extends AsyncDisposable {
  /** Asks for a query now; rejects with what Prometheus says of a bad one. */
  query(expression: string): Promise<readonly Sample[]>;
  /** Asks for a query at every step of a range. */
  queryRange(expression: string, range: TimeRange): Promise<readonly Series[]>;
  /** Names of the rules that it evaluates. */
  rules(): Promise<readonly string[]>;
}

/** Starts one that scrapes these (host:port) every `scrapeS` seconds. */
export async function startPrometheus(targets: readonly string[], scrapeS = 1): Promise<Prometheus> {
  ensureCommand('prometheus', '--version');
  const folder = mkdtempSync(join(tmpdir(), 'doorward-prometheus-'));
  const port = await freePort();
  const config = {
    global: { scrape_interval: `${scrapeS}s`, evaluation_interval: `${scrapeS}s` },
    rule_files: [rulesFile],
    scrape_configs: [{ job_name: 'doorward', static_configs: [{ targets }] }],
  };
  writeFileSync(join(folder, 'prometheus.yml'), JSON.stringify(config));
  const child = spawn(
    'prometheus',
    [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: 'ignore' },
  );
  const ended = once(child, 'exit');
  const ask = async (path: string) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`);
    const { status, data, error } = (await answer.json()) as { status: string; data: never; error?: string };
    if (status !== 'success') throw new Error(`${decodeURIComponent(path)}: ${error}`);
    return data;
  };
  const isReady = () =>
    fetch(`http://127.0.0.1:${port}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
  await eventually(isReady, 60_000);
  return {
    async query(expression) {
      const { result } = (await ask(`/api/v1/query?query=${encodeURIComponent(expression)}`)) as {
        result: readonly Sample[];
      };
      return result;
    },
    async queryRange(expression, { startS, endS, stepS }) {
      const range = `start=${startS}&end=${endS}&step=${stepS}`;
      const { result } = (await ask(`/api/v1/query_range?query=${encodeURIComponent(expression)}&${range}`)) as {
        result: readonly Series[];
      };
      return result;
    },
    async rules() {
      const { groups } = (await ask('/api/v1/rules')) as { groups: { rules: { name: string }[] }[] };
      return groups.flatMap(({ rules }) => rules.map(({ name }) => name));
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
