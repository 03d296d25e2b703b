// Turns zod's issues into findings that an operator can act on: unknown settings with the nearest name, unions reduced to
// the alternative that was meant, everything else as "needs …". Values are never repeated, only their kind.
import type { z } from 'zod';
import { nearestName } from '../core/nearest.ts';
import type { Path } from './places.ts';
import type { Finding } from './problem.ts';
import { fieldNames, type Shape, schemaAt, shapesOf } from './shape.ts';
import { kindOf, valueAt } from './tree.ts';

type Issue = z.core.$ZodIssue;

/** All findings of a failed validation of `tree`. */
export function schemaFindings(issues: readonly Issue[], tree: unknown, schema: z.ZodType): Finding[] {
  return issues.flatMap((issue) => issueFindings(issue, [], { tree, schema }));
}

interface Ground {
  readonly tree: unknown;
  readonly schema: z.ZodType;
}

function issueFindings(issue: Issue, base: Path, ground: Ground): Finding[] {
  const path: Path = [...base, ...issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step))];
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => unknownKey([...path, key], key, ground));
    case 'invalid_key':
      return [{ path, message: ownWords(issue.issues[0]?.message) ?? 'needs another name', atKey: true }];
    case 'invalid_union':
      return unionFindings(issue, path, ground);
    default:
      return [{ path, ...describe(issue, path, ground) }];
  }
}

function unknownKey(path: Path, key: string, ground: Ground): Finding {
  const parent = schemaAt(ground.schema, path.slice(0, -1));
  const nearest = parent && nearestName(key, fieldNames(parent));
  return { path, message: 'is not a setting', nearest, atKey: true };
}

/** The alternatives whose outermost type fits were meant; when exactly one is left, its own issues say more. */
function unionFindings(issue: z.core.$ZodIssueInvalidUnion, path: Path, ground: Ground): Finding[] {
  const mismatched = (issues: readonly Issue[]) =>
    issues.some(
      (inner) => inner.path.length === 0 && (inner.code === 'invalid_type' || inner.code === 'invalid_value'),
    ) ||
    issues.some((inner) => inner.path.length === 0 && inner.code === 'invalid_union' && inner.errors.every(mismatched));
  const meant = issue.errors.filter((issues) => !mismatched(issues));
  if (meant.length === 1) return meant[0]!.flatMap((inner) => issueFindings(inner, path, ground));
  return [{ path, ...describe(issue, path, ground) }];
}

function describe(issue: Issue, path: Path, ground: Ground): Pick<Finding, 'message' | 'nearest'> {
  const value = valueAt(ground.tree, path);
  const shapes = shapesOf(schemaAt(ground.schema, path) ?? ground.schema);
  const needs = ownWords(issue.message) ?? nestedWords(issue) ?? bounds(issue) ?? `needs ${expected(shapes)}`;
  if (value === undefined && valueAt(ground.tree, path.slice(0, -1)) !== undefined) {
    return { message: `is missing: ${needs}` };
  }
  const nearest = typeof value === 'string' ? nearestName(value, words(shapes)) : undefined;
  const expectsText = shapes.some((shape) => shape.kind === 'scalar' && shape.type === 'string');
  const kindIsRight =
    (typeof value === 'string' && expectsText) || (typeof value === 'number' && shapes.some(isNumber));
  return { message: kindIsRight || /^too_/.test(issue.code) ? needs : `${needs} (got ${kindOf(value)})`, nearest };
}

const isNumber = (shape: Shape) => shape.kind === 'scalar' && shape.type === 'number';

/** Messages of our own schema start with "needs"; zod's never do. */
function ownWords(message: string | undefined): string | undefined {
  return message?.startsWith('needs') ? message : undefined;
}

/** A union says nothing itself; the first alternative with words of ours does. */
function nestedWords(issue: Issue): string | undefined {
  if (issue.code !== 'invalid_union') return undefined;
  return issue.errors
    .flat()
    .map((inner) => ownWords(inner.message))
    .find((message) => message !== undefined);
}

const MOST_NAMED_FIELDS = 6;

function mapping(fields: readonly string[]): string {
  return fields.length > MOST_NAMED_FIELDS ? 'a mapping' : `a mapping with ${fields.join(', ')}`;
}

function bounds(issue: Issue): string | undefined {
  if (issue.code === 'invalid_type' && issue.expected === 'int') return 'needs a whole number';
  if (issue.code === 'too_big') return `needs at most ${issue.maximum}`;
  if (issue.code !== 'too_small') return undefined;
  if (issue.origin === 'string') return 'needs some text, not an empty one';
  return issue.origin === 'array' ? 'needs at least one element' : `needs at least ${issue.minimum}`;
}

function words(shapes: readonly Shape[]): string[] {
  return shapes.flatMap((shape) => (shape.kind === 'scalar' ? (shape.words ?? []) : []));
}

/** What may stand at a place, such as `one of off, pass, or a mapping with origins`. */
export function expected(shapes: readonly Shape[]): string {
  const listed = words(shapes);
  const parts = listed.length === 0 ? [] : [listed.length === 1 ? listed[0]! : `one of ${listed.join(', ')}`];
  for (const shape of shapes) {
    if (shape.kind === 'scalar' && shape.words) continue;
    parts.push(shape.kind === 'object' ? mapping(Object.keys(shape.fields)) : KINDS[shape.kind](shape));
  }
  return [...new Set(parts)].join(', or ');
}

const KINDS = {
  record: () => 'a mapping of names',
  list: () => 'a list',
  scalar: (shape: Shape) => SCALARS[shape.kind === 'scalar' ? shape.type : 'any'],
} as const;
const SCALARS = { string: 'text', number: 'a number', boolean: 'true or false', null: 'null', any: 'a value' } as const;
