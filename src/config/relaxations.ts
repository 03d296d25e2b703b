// What a configuration does without on purpose: each setting that weakens a rule, with its place. `check` prints them and the
// program says them at its start, so that nobody relaxes anything in silence. SECURITY.md names the settings.
import { type LoadedConfig, problemAt } from './loaded.ts';
import type { Path } from './places.ts';
import type { Problem } from './problem.ts';
import { shadowed, shadowText } from './shadow.ts';

/** Every relaxation in force at `nowMs`: its place, its setting, and what it means. Empty where everything is strict. */
export function relaxations(loaded: LoadedConfig, nowMs: number): Problem[] {
  const { proxy, limits, routes, revocation } = loaded.config;
  const found: Problem[] = [];
  const say = (path: Path, message: string) => found.push(problemAt(loaded, path, message));
  if (proxy.error_detail === 'reason') say(['proxy', 'error_detail'], 'reason: callers are told why they were refused');
  for (const [name, limit] of Object.entries(limits)) {
    if (limit.on_store_down === 'allow')
      say(['limits', name, 'on_store_down'], 'allow: limits nobody while Redis is away');
  }
  for (const [name, { auth, relax }] of Object.entries(routes)) {
    if (auth === 'none') say(['routes', name, 'auth'], 'none: needs no token');
    if (relax.length > 0) say(['routes', name, 'relax'], `${relax.join(', ')}: paths that servers read differently`);
  }
  for (const { path, block } of shadowed(loaded.config)) {
    const text = shadowText(block, nowMs);
    if (text !== undefined) say([...path, 'mode'], `${text}: refuses nobody`);
  }
  if (revocation.on_store_down === 'allow')
    say(['revocation', 'on_store_down'], 'allow: revoked tokens pass while Redis is away');
  return found;
}
