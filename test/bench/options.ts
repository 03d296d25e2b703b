// The bench's command line. Defaults make a full run of about five minutes; `--smoke` a check of under 30 seconds.
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

/** What one run does; times in seconds. */
export interface BenchOptions {
  readonly smoke: boolean;
  readonly profile: boolean;
  /** Names of the peers to run, in order; undefined: all. */
  readonly peers: readonly string[] | undefined;
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly connections: number;
  /** Minutes of the memory soak; 0: none. */
  readonly soakMinutes: number;
  /** Active revocations to hold against none; 0: not measured. */
  readonly revocations: number;
  /** For Node, when it runs Doorward. */
  readonly nodeArgs: readonly string[];
  /** Start time, latency and refusals, beside throughput. */
  readonly extras: boolean;
  /** What Node runs as Doorward. */
  readonly program: string;
}

/** What `--help` prints. */
export const usage = `npm run bench -- [flags]
  --smoke            everything once for a second: asserts that all start, serve and refuse; decides nothing by time
  --peers a,b        only these: doorward, pass-through, http-proxy, nginx, haproxy, fastify, fastify-tuned, fastify-no-cache
  --rounds N         interleaved rounds (default 5)
  --seconds N        length of one round (default 5)
  --only-throughput  leave out start time, latency and refusals
  --soak [N]         only memory: doorward under load for N minutes (default 10) with 10,000 tokens
  --revocations [N]  only Doorward with N active revocations (default 1000000) against Doorward with none
  --node-args "A B"  flags for Node when it runs Doorward, to try them out
  --program FILE     Doorward's main module (default src/main.ts), such as dist/main.js or one of another checkout
  --profile          only the top functions by self time: doorward, or the first of --peers, under --cpu-prof
`;

const count = (text: string, flag: string, most: number): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > most)
    throw new Error(`${flag} needs a number from 1 to ${most}`);
  return value;
};

/** Reads argv; undefined when help was asked for. Throws an Error with what is wrong. */
export function readOptions(argv: readonly string[]): BenchOptions | undefined {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      smoke: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      peers: { type: 'string' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      'only-throughput': { type: 'boolean', default: false },
      revocations: { type: 'boolean', default: false },
      'node-args': { type: 'string', default: '' },
      program: { type: 'string', default: 'src/main.ts' },
      soak: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  if (positionals.length > (values.soak || values.revocations ? 1 : 0))
    throw new Error(`unknown argument ${positionals.at(-1)}`);
  const { smoke } = values;
  return {
    smoke,
    profile: values.profile,
    peers: values.peers?.split(',').map((name) => name.trim()),
    rounds: count(values.rounds ?? (smoke ? '1' : '5'), '--rounds', 50),
    seconds: count(values.seconds ?? (smoke ? '1' : '5'), '--seconds', 120),
    warmUpSeconds: smoke ? 0 : 3,
    connections: 64,
    soakMinutes: values.soak ? count(positionals[0] ?? '10', '--soak', 240) : 0,
    program: resolve(values.program),
    revocations: values.revocations ? count(positionals[0] ?? '1000000', '--revocations', 5_000_000) : 0,
    nodeArgs: values['node-args'].split(' ').filter((word) => word !== ''),
    extras: !values['only-throughput'],
  };
}
