// `npm run fuzz -- [TARGET …] [--minutes N] [--keep]`: fuzzes the named targets (all without a name), each for its share of the time;
// `differential` runs generated connections. Prints executions, edges and the first finding, and ends with 1 when there is one.
import { parseArgs } from 'node:util';
import { keep, readCorpus } from './corpus.ts';
import { fuzz } from './engine.ts';
import { edgeCount, hits, instrumentSources } from './instrument.ts';
import { loadTarget, targetNames } from './targets.ts';

/** Above this an input that is kept would be a burden to the repository; the seeds cover what is larger. */
const MAX_KEPT_BYTES = 700;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: 'string', default: '1' },
    seed: { type: 'string', default: String(Date.now() % 1e9) },
    keep: { type: 'boolean', default: false },
  },
});
const names = positionals.length > 0 ? positionals : [...targetNames, 'differential'];
const ms = (Number(values.minutes) * 60_000) / names.length;
const seed = Number(values.seed);

async function runTarget(name: string): Promise<boolean> {
  instrumentSources(/\/src\//);
  const target = await loadTarget(name);
  const known = readCorpus(name);
  const used = hits.subarray(0, edgeCount());
  const { executions, seconds, edgesTaken, corpus, finding } = fuzz(target, {
    hits: used,
    ms,
    corpus: known.map(({ input }) => input),
    seed,
  });
  const rate = Math.round(executions / seconds);
  console.log(
    `${name}: ${executions} inputs, ${rate}/s, ${edgesTaken} edges, ${corpus.length} inputs kept of seed ${seed}`,
  );
  if (values.keep) for (const input of corpus) if (input.length <= MAX_KEPT_BYTES) keep(name, input);
  if (finding === undefined) return true;
  console.error(
    `${name}: ${keep(name, finding.input)}: ${JSON.stringify(finding.input.toString('latin1'))}`,
    finding.error,
  );
  return false;
}

async function runConnections(): Promise<boolean> {
  const { runDifferential } = await import('./differential/run.ts');
  const { runHttp2Differential } = await import('./differential/http2-run.ts');
  const { upstreams } = await import('./differential/upstreams.ts');
  let sound = true;
  const kinds = Object.keys(upstreams).map((name) => [name, 'HTTP/1.1', runDifferential] as const);
  const more = ['raw', 'http2'].map((name) => [name, 'HTTP/2', runHttp2Differential] as const);
  const all = [...kinds, ...more];
  for (const [name, spoken, run] of all) {
    await using upstream = await (upstreams[name] as (typeof upstreams)[string])();
    const untilMs = performance.now() + ms / all.length;
    const relax = seed % 2 === 0 ? [] : ['encoded_slash', 'double_slash', 'double_encoding'];
    const found = await run({ upstream, seed: seed * 100, count: 20_000, untilMs, relax });
    console.log(
      `differential ${spoken} to ${name}: ${found.scripts} connections, ${found.requests} requests, ${found.served} served, seed ${seed}`,
    );
    for (const finding of found.findings) console.error(finding);
    sound &&= found.findings.length === 0;
  }
  return sound;
}

let sound = true;
for (const name of names) sound = (name === 'differential' ? await runConnections() : await runTarget(name)) && sound;
process.exitCode = sound ? 0 : 1;
