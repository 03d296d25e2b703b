// What is wrong with a configuration, and how it is printed. Checks produce findings (a path and words); here a finding
// gets its place in the file or the variable that gave the value. Messages never hold a value of the file: any of them may
// be a secret in the wrong line.
import { formatPath, type Origins, type Path, type Position } from './places.ts';

/** A problem before it has a place. */
export interface Finding {
  readonly path: Path;
  /** What is wrong, for `path: message`. */
  readonly message: string;
  /** A known name close to the one that was written. */
  readonly nearest?: string | undefined;
  /** Point at the key instead of the value (unknown settings). */
  readonly atKey?: boolean;
  /** Place that the reader of the file knows better than the path does. */
  readonly position?: Position;
  /** The environment variable at fault, where no path exists. */
  readonly variable?: string;
}

/** One problem, with its place. */
export interface Problem {
  /** `file:line:column`, the file alone when it could not be read, or the name of an environment variable. */
  readonly place: string;
  /** `routes.api.limits[0]`; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
  readonly nearest: string | undefined;
}

/** A configuration that cannot be used; `problems` has all of them, `message` is ready to print. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[], options?: ErrorOptions) {
    super(problems.map(formatProblem).join('\n'), options);
    this.problems = problems;
  }
}

/** `file:line:column path: problem (nearest name …)`. */
export function formatProblem(problem: Problem): string {
  const nearest = problem.nearest === undefined ? '' : ` (nearest name ${problem.nearest})`;
  const path = problem.path === '' ? '' : ` ${problem.path}`;
  return `${problem.place}${path}: ${problem.message}${nearest}`;
}

/** Gives findings their places, in the order of the file, without repetitions. */
export function locateProblems(findings: readonly Finding[], file: string, origins: Origins): Problem[] {
  const seen = new Set<string>();
  return findings
    .map((finding) => ({ finding, ...locate(finding, file, origins) }))
    .sort((a, b) => a.line - b.line || a.column - b.column || (a.place < b.place ? -1 : Number(a.place > b.place)))
    .map(({ finding, place }) => ({
      place,
      path: formatPath(finding.path),
      message: finding.message,
      nearest: finding.nearest,
    }))
    .filter((problem) => {
      const text = formatProblem(problem);
      return !seen.has(text) && seen.add(text);
    });
}

const AFTER_THE_FILE = Number.MAX_SAFE_INTEGER;

function locate(finding: Finding, file: string, origins: Origins): { place: string } & Position {
  if (finding.variable !== undefined) return { place: finding.variable, line: AFTER_THE_FILE, column: 0 };
  const position = finding.position ?? positionOf(finding, origins);
  if (typeof position === 'string') return { place: position, line: AFTER_THE_FILE, column: 0 };
  return { place: `${file}:${position.line}:${position.column}`, ...position };
}

function positionOf(finding: Finding, origins: Origins): Position | string {
  const found = origins.nearest(finding.path);
  if (!found) return { line: 1, column: 1 };
  const { origin, exact } = found;
  if (origin.kind === 'env') return origin.variable;
  return exact && !finding.atKey ? origin.value : (origin.key ?? origin.value);
}
