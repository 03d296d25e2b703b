// Checks of `doorward doctor` that look at the running system as a whole: configuration, stores, keys, audit, health.
import { CheckSkipped, type DoctorCheck, expect } from './doctor-world.ts';

interface Component {
  readonly status: string;
  readonly detail?: Readonly<Record<string, unknown>>;
}

const SLOW_MS = 250;

/** In this order, before anything is made. */
export const systemChecks: readonly DoctorCheck[] = [
  {
    name: 'health endpoints answer',
    run: async (world) => {
      const [live, ready, metrics] = await Promise.all(
        ['/healthz', '/readyz', '/metrics'].map((path) => world.admin('GET', path)),
      );
      expect(live?.status === 200, `/healthz answered ${live?.status}`);
      expect(ready?.status === 200, `/readyz answered ${ready?.status} ${ready?.text.slice(0, 300)}`);
      expect(metrics?.text.includes('doorward_decisions_total') === true, '/metrics shows no metrics of ours');
      return 'live, ready, scraped';
    },
  },
  {
    name: 'every component is up',
    run: async (world) => {
      const { components } = (await world.ask('GET', '/v1/status')) as { components: Record<string, Component> };
      const down = Object.entries(components).filter(([, { status }]) => status !== 'up');
      expect(
        down.length === 0,
        down.map(([name, { status, detail }]) => `${name} ${status} ${JSON.stringify(detail)}`).join(', '),
      );
      return Object.keys(components).join(', ');
    },
  },
  {
    name: 'the configuration file is the one in force, and fit for production',
    run: async (world) => {
      const { file, hash } = await world.ask('GET', '/v1/config');
      const { loadConfig } = await import('../config/load.ts');
      const { formatProblem } = await import('../config/problem.ts');
      const { productionProblems } = await import('../config/production.ts');
      const loaded = (() => {
        try {
          return loadConfig({ file: world.options.config, env: world.terminal.env });
        } catch (cause) {
          throw new CheckSkipped(`${world.options.config} cannot be loaded here (the sidecar has ${file})`, { cause });
        }
      })();
      expect(loaded.hash === hash, `${world.options.config} differs from what runs: reload or restart`);
      const problems = productionProblems(loaded);
      expect(problems.length === 0, problems.map(formatProblem).join('; '));
      return `hash ${String(hash).slice(0, 12)}`;
    },
  },
  {
    name: 'Redis answers quickly',
    run: async (world) => {
      const config = await world.config();
      if (config.redis === undefined) throw new CheckSkipped('no redis is configured');
      const isLooked = ({ key, concurrent }: { key: unknown; concurrent?: number | undefined }) =>
        key === 'ip' && concurrent === undefined;
      const [name] = Object.entries(config.limits ?? {}).find(([, limit]) => isLooked(limit)) ?? [];
      if (name === undefined) throw new CheckSkipped('no limit by ip is configured that could be looked at');
      return timed(() => world.ask('GET', `/v1/limits/${name}/192.0.2.1`));
    },
  },
  {
    name: 'PostgreSQL answers quickly',
    run: (world) => timed(() => world.ask('GET', '/v1/operators')),
  },
  {
    name: 'one signing key per issuer signs, and sealed fields open',
    run: async (world) => {
      const { items } = (await world.ask('GET', '/v1/keys')) as { items: { issuer: string; state: string }[] };
      const issuers = new Set(items.map(({ issuer }) => issuer));
      const active = items.filter(({ state }) => state === 'active').length;
      expect(active === issuers.size, `${active} active keys for ${issuers.size} issuers`);
      const { resealing, active_key_id: id } = await world.ask('GET', '/v1/data-keys');
      expect(id !== null, 'no data key is active');
      expect(resealing.unreadable.length === 0, `sealed fields do not open: ${resealing.unreadable.join(', ')}`);
      return `${active} signing, data key ${id}`;
    },
  },
  {
    name: 'the audit log is whole',
    run: async (world) => {
      const report = await world.ask('GET', '/v1/audit/verify');
      expect(report.ok, `${report.problems_total} problems: ${report.problems[0]?.message}`);
      return `${report.events} events, ${report.checkpoints} checkpoints`;
    },
  },
];

/** The median of five calls, which has to be quick. */
async function timed(call: () => Promise<unknown>): Promise<string> {
  const tookMs: number[] = [];
  for (let n = 0; n < 5; n += 1) {
    const began = performance.now();
    await call();
    tookMs.push(performance.now() - began);
  }
  const median = tookMs.toSorted((a, b) => a - b)[2] as number;
  expect(median < SLOW_MS, `a call takes ${median.toFixed(0)} ms`);
  return `${median.toFixed(1)} ms a call`;
}
