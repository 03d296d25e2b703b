// All targets by name, loaded only when asked for: the fuzzer must put its counters into src before anything loads it.
import type { Target } from './engine.ts';

const loaders: Readonly<Record<string, () => Promise<{ readonly target: Target }>>> = {
  address: () => import('./targets/address.ts'),
  answer: () => import('./targets/answer.ts'),
  chunked: () => import('./targets/chunked.ts'),
  config: () => import('./targets/config.ts'),
  entry: () => import('./targets/entry.ts'),
  json: () => import('./targets/json.ts'),
  path: () => import('./targets/path.ts'),
  token: () => import('./targets/token.ts'),
};

/** Names of all targets. */
export const targetNames: readonly string[] = Object.keys(loaders);

/** Loads a target; TypeError for a name that is none. */
export async function loadTarget(name: string): Promise<Target> {
  const load = loaders[name];
  if (load === undefined) throw new TypeError(`no such target: ${name}; there are ${targetNames.join(', ')}`);
  return (await load()).target;
}
