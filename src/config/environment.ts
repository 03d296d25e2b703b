// Overlay of the environment: DOORWARD__PROXY__LISTEN sets proxy.listen. Two underscores first and between levels, because
// Kubernetes injects DOORWARD_PORT and the like for a Service of that name; such variables are ignored. Sets any scalar and
// any element of a list of scalars. The merged tree is validated afterwards, so here only the path is judged.
import { isScalar, parseDocument } from 'yaml';
import type { z } from 'zod';
import { nearestName } from '../core/nearest.ts';
import type { Origins } from './places.ts';
import type { Finding } from './problem.ts';
import { defaultOf, type ScalarType, type Shape, shapesOf } from './shape.ts';
import { isTree, type Tree } from './tree.ts';

/** Variables as `process.env` has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

const PREFIX = 'DOORWARD__';

/** Sets what the environment gives into `root` (changed in place), records the origins, returns unusable variables. */
export function overlayEnvironment(root: Tree, origins: Origins, env: Environment, schema: z.ZodType): Finding[] {
  const findings: Finding[] = [];
  const variables = Object.keys(env).filter((name) => name.startsWith(PREFIX) && env[name] !== undefined);
  const inOrder = new Intl.Collator('en', { numeric: true }).compare;
  for (const variable of variables.sort(inOrder)) {
    const problem = setVariable({ root, origins, variable, text: env[variable]! }, schema);
    if (problem) findings.push({ path: [], variable, ...problem });
  }
  return findings;
}

interface Assignment {
  readonly root: Tree;
  readonly origins: Origins;
  readonly variable: string;
  readonly text: string;
}
type Trouble = Pick<Finding, 'message'> & Partial<Finding>;

function setVariable(assignment: Assignment, schema: z.ZodType): Trouble | undefined {
  const segments = assignment.variable.slice(PREFIX.length).toLowerCase().split('__');
  const steps = resolve(assignment.root, schema, segments);
  if (!Array.isArray(steps)) return steps;
  const path = steps.map((step) => step.key);
  const types = scalarTypes(steps.at(-1)!.schema);
  if (types.size === 0) return { path, message: `is not a single value; set ${settable(steps.at(-1)!.schema)}` };
  const scalar = parseScalar(assignment.text, types);
  if (!scalar) return { path, message: 'needs one YAML scalar (a number, true, false or text)' };
  write(assignment, steps, scalar.value);
  return undefined;
}

interface Step {
  readonly key: string | number;
  readonly schema: z.ZodType;
  /** The container to write into when the tree has none that fits. */
  readonly container: () => Tree | unknown[];
  /** Keeps the container that is there, or replaces it. */
  readonly fits: (existing: unknown) => boolean;
}

function resolve(root: Tree, schema: z.ZodType, segments: readonly string[]): Step[] | Trouble {
  const steps: Step[] = [];
  let place: z.ZodType = schema;
  let existing: unknown = root;
  for (const [index, segment] of segments.entries()) {
    const step = stepInto(place, existing ?? defaultOf(place), segment);
    if (!step) return unknownSetting(place, segments, index);
    const length = asList(existing ?? defaultOf(place)).length;
    if (typeof step.key === 'number' && step.key > length) {
      const path = [...steps.map(({ key }) => key), step.key];
      return { path, message: `leaves a gap; the list has ${length} elements` };
    }
    steps.push(step);
    existing = isTree(existing) || Array.isArray(existing) ? (existing as Tree)[step.key] : undefined;
    place = step.schema;
  }
  return steps;
}

const asList = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

function stepInto(schema: z.ZodType, existing: unknown, segment: string): Step | undefined {
  const shapes = shapesOf(schema);
  for (const shape of shapes) {
    const next = matchSegment(shape, existing, segment);
    if (next) return { ...next, ...containerFor(shape, schema, shapes.length > 1) };
  }
  return undefined;
}

function matchSegment(shape: Shape, existing: unknown, segment: string): Pick<Step, 'key' | 'schema'> | undefined {
  if (shape.kind === 'object') {
    return Object.hasOwn(shape.fields, segment) ? { key: segment, schema: shape.fields[segment]! } : undefined;
  }
  if (shape.kind === 'list')
    return /^\d{1,4}$/.test(segment) ? { key: Number(segment), schema: shape.element } : undefined;
  if (shape.kind !== 'record') return undefined;
  const fold = (key: string) => key.toLowerCase().replaceAll('-', '_');
  const key = Object.keys(isTree(existing) ? existing : {}).find((name) => fold(name) === segment) ?? segment;
  return key !== '__proto__' && shape.key.safeParse(key).success ? { key, schema: shape.value } : undefined;
}

function containerFor(shape: Shape, schema: z.ZodType, oneOfSeveral: boolean): Pick<Step, 'container' | 'fits'> {
  if (shape.kind === 'list') return { container: () => [...asList(defaultOf(schema))], fits: Array.isArray };
  // A union's alternatives exclude one another: naming {env} where the file has {file} replaces the reference.
  const own = (value: Tree) =>
    shape.kind !== 'object' || Object.keys(value).every((key) => Object.hasOwn(shape.fields, key));
  return {
    container: () => ({ ...(defaultOf(schema) as Tree | undefined) }),
    fits: (value) => isTree(value) && (!oneOfSeveral || own(value)),
  };
}

function write({ root, origins, variable }: Assignment, steps: readonly Step[], value: unknown): void {
  const origin = { kind: 'env', variable } as const;
  let container: Tree | unknown[] = root;
  const path: (string | number)[] = [];
  for (const [index, { key }] of steps.entries()) {
    path.push(key);
    const below = steps[index + 1];
    const slots = container as Tree;
    if (!below) slots[key] = value;
    else if (!below.fits(slots[key])) slots[key] = below.container();
    else {
      container = slots[key] as Tree;
      continue;
    }
    origins.set(path, origin);
    container = slots[key] as Tree;
  }
}

function scalarTypes(schema: z.ZodType): Set<ScalarType> {
  return new Set(shapesOf(schema).flatMap((shape) => (shape.kind === 'scalar' ? [shape.type] : [])));
}

/** Text settings take the text as it is, unless it is quoted as in YAML; all others take what YAML makes of it. */
function parseScalar(text: string, types: ReadonlySet<ScalarType>): { readonly value: unknown } | undefined {
  const onlyText = types.size === 1 && types.has('string');
  if (onlyText && !/^(".*"|'.*')$/s.test(text)) return { value: text };
  const { contents, errors, warnings } = parseDocument(text, { prettyErrors: false, logLevel: 'error' });
  if (errors.length > 0 || warnings.length > 0 || (contents !== null && !isScalar(contents))) return undefined;
  const value = contents === null ? null : contents.value;
  return { value };
}

function settable(schema: z.ZodType): string {
  const shape = shapesOf(schema)[0]!;
  if (shape.kind === 'object') return `one of its settings (${Object.keys(shape.fields).join(', ')})`;
  return shape.kind === 'list'
    ? 'its elements by number (…__0), or use the file'
    : 'its entries by name, or use the file';
}

function unknownSetting(place: z.ZodType, segments: readonly string[], index: number): Trouble {
  const segment = segments[index]!;
  const known = shapesOf(place).flatMap((shape) => (shape.kind === 'object' ? Object.keys(shape.fields) : []));
  const near = nearestName(segment, known);
  const spelled = (names: readonly string[]) => PREFIX + names.join('__').toUpperCase();
  return {
    message: 'is not a setting',
    nearest: near === undefined ? undefined : spelled([...segments.slice(0, index), near]),
  };
}
