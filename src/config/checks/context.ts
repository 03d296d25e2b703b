// What every check gets: the parsed configuration, the names that exist, the secrets, and somewhere to report to. A check
// reports as many findings as it sees and never throws.

import { nearestName } from '../../core/nearest.ts';
import type { SecretReference } from '../fields.ts';
import type { Path } from '../places.ts';
import type { Finding } from '../problem.ts';
import type { SidecarConfig } from '../schema.ts';
import type { Secrets } from '../secrets.ts';
import type { Shadowable } from '../shadow.ts';

/** Sections whose blocks are referred to by name. */
export type Section = 'upstreams' | 'issuers' | 'limits' | 'routes' | 'clients';

/** Everything a check may look at or do. */
export interface CheckContext {
  readonly config: SidecarConfig;
  /** Names in the file, also of blocks that are left out of `config` because the schema refused them. */
  readonly names: Readonly<Record<Section, readonly string[]>>;
  readonly secrets: Secrets;
  /** True when the file or the environment has the setting, whether or not the schema took it. */
  readonly given: (path: Path) => boolean;
  /** Absolute path of a file that the configuration names. */
  readonly resolvePath: (path: string) => string;
  /** Refuses the configuration. */
  readonly problem: (path: Path, message: string, more?: Pick<Finding, 'nearest' | 'atKey'>) => void;
  /** Says what is allowed and probably not meant. */
  readonly warn: (path: Path, message: string) => void;
}

/** One group of checks over a section. */
export type Check = (context: CheckContext) => void;

/** Reports a reference to a block that does not exist; true when it does. */
export function refers(context: CheckContext, section: Section, name: string, path: Path): boolean {
  const known = context.names[section];
  if (known.includes(name)) return true;
  const list = known.length === 0 ? `there are no ${section}` : `${section} has ${known.join(', ')}`;
  context.problem(path, `names "${name}", but ${list}`, { nearest: nearestName(name, known) });
  return false;
}

/** Reports `message`, when there is one. */
export function refuse(context: CheckContext, path: Path, message: string | undefined): void {
  if (message !== undefined) context.problem(path, message);
}

/** Judges what a secret reference holds, when it is there and could be resolved. */
export function withSecret(
  context: CheckContext,
  path: Path,
  reference: SecretReference | undefined,
  judge: (secret: string) => string | undefined,
): void {
  if (reference && context.secrets.has(reference)) refuse(context, path, judge(context.secrets.get(reference)));
}

/** Reports elements that stand twice in a list. */
export function refuseRepeated(context: CheckContext, elements: readonly string[], path: Path, what: string): void {
  elements.forEach((element, index) => {
    if (elements.indexOf(element) !== index) context.problem([...path, index], `${what} is listed twice`);
  });
}

/** An end of what has not begun: whoever reads the date would think that nothing is refused until then, or that something is. */
export function refuseEndWithoutShadow(context: CheckContext, path: Path, block: Shadowable): void {
  if (block.shadow_until !== undefined && block.mode !== 'shadow')
    context.problem([...path, 'shadow_until'], 'has no meaning without mode: shadow');
}
