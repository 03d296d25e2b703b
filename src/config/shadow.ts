// `mode: shadow` with its end: what is tried out beside the traffic until `shadow_until`, and enforced from then on. A date that
// passes is never an allow: whoever compiles a configuration takes it as it holds at that moment.
import { formatMoment } from '../core/units.ts';
import type { LoadedConfig } from './loaded.ts';
import { formatPath, type Path } from './places.ts';
import type { SidecarConfig } from './schema.ts';

/** A route or a limit as far as shadow mode goes. */
export interface Shadowable {
  readonly mode: 'enforce' | 'shadow';
  /** Milliseconds since the epoch. */
  readonly shadow_until?: number | undefined;
}

/** True when a date has passed that ended the shadow mode of a route or limit; also of one that enforces for it already. */
export const isOverdue = ({ shadow_until: until }: Shadowable, nowMs: number): boolean =>
  until !== undefined && until <= nowMs;

/** Every route and limit that is in shadow mode, or was until its date, with its path. */
export function shadowed({ routes, limits }: SidecarConfig): { readonly path: Path; readonly block: Shadowable }[] {
  const of = (section: 'routes' | 'limits', blocks: Readonly<Record<string, Shadowable>>) =>
    Object.entries(blocks).map(([name, block]) => ({ path: [section, name], block }));
  return [...of('routes', routes), ...of('limits', limits)].filter(
    ({ block }) => block.mode === 'shadow' || block.shadow_until !== undefined,
  );
}

/** The paths of routes and limits that enforce because their shadow mode is over, such as `routes.api`. */
export function enforcedSince(config: SidecarConfig, nowMs: number): readonly string[] {
  return shadowed(config).flatMap(({ path, block }) =>
    block.mode === 'enforce' && isOverdue(block, nowMs) ? [formatPath(path)] : [],
  );
}

/**
 * When the next shadow mode ends, in ms since the epoch; undefined when none will. In the past for one whose date came after
 * this was compiled: it is still to end.
 */
export function nextShadowEnd(config: SidecarConfig): number | undefined {
  const ends = shadowed(config).flatMap(({ block }) => (block.mode === 'shadow' ? (block.shadow_until ?? []) : []));
  return ends.length === 0 ? undefined : Math.min(...ends);
}

/** The configuration as it holds at `nowMs`: what is overdue enforces. The same object where nothing is. */
export function enforceOverdue(loaded: LoadedConfig, nowMs: number): LoadedConfig {
  const { config } = loaded;
  if (!shadowed(config).some(({ block }) => isOverdue(block, nowMs))) return loaded;
  const settled = <T extends Shadowable>(blocks: Readonly<Record<string, T>>): Record<string, T> =>
    Object.fromEntries(
      Object.entries(blocks).map(([name, block]) => [
        name,
        isOverdue(block, nowMs) ? Object.freeze({ ...block, mode: 'enforce' as const }) : block,
      ]),
    );
  const [routes, limits] = [Object.freeze(settled(config.routes)), Object.freeze(settled(config.limits))];
  return Object.freeze({ ...loaded, config: Object.freeze({ ...config, routes, limits }) });
}

/** `shadow until 2026-12-31`, `shadow` without an end; undefined for what enforces. */
export function shadowText(block: Shadowable, nowMs: number): string | undefined {
  if (block.mode !== 'shadow' || isOverdue(block, nowMs)) return undefined;
  return block.shadow_until === undefined ? 'shadow' : `shadow until ${formatMoment(block.shadow_until)}`;
}
