// What a schema of the admin API finds wrong, in sentences for the operator who wrote the call. No sentence quotes a value: it
// may be a secret in the wrong field.
import { z } from 'zod';
import { nearestHint } from '../core/nearest.ts';
import type { FieldProblem } from '../http/problem.ts';

/** Every field that `schema` refuses in `input`; unknown fields come with the nearest name there is. */
export function fieldProblems(error: z.ZodError, schema: z.ZodType, input: unknown): readonly FieldProblem[] {
  return error.issues.flatMap((issue) => {
    const path = issue.path.map(String).join('.');
    if (issue.code !== 'unrecognized_keys') return [{ path, problem: wording(issue, valueAt(input, issue.path)) }];
    const known = issue.path.length === 0 && schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
    return issue.keys.map((key) => unknownField(key, path, known));
  });
}

/** The problem of a field that nothing knows; `known` are the names that it may have been meant for. */
export function unknownField(key: string, parent = '', known: readonly string[] = []): FieldProblem {
  const path = parent === '' ? key : `${parent}.${key}`;
  return { path, problem: `is not a known field${nearestHint(key, known)}` };
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((at, step) => (at as Record<PropertyKey, unknown> | undefined)?.[step], input);
}

/** What zod says when a schema has no words of its own. */
const NO_OWN_WORDS = /^(?:Invalid|Too (?:small|big)|Unrecognized)\b/;

function wording(issue: z.core.$ZodIssue, value: unknown): string {
  if (!NO_OWN_WORDS.test(issue.message)) return issue.message;
  if (value === undefined) return 'is needed';
  if (issue.code === 'invalid_type') return `needs to be ${KINDS[issue.expected] ?? issue.expected}`;
  if (issue.code === 'invalid_value') return `needs to be one of ${issue.values.map(String).join(', ')}`;
  if (issue.code === 'too_small')
    return issue.origin === 'string' ? TOO_SHORT : bound('least', issue.minimum, issue.origin);
  if (issue.code === 'too_big') return bound('most', issue.maximum, issue.origin);
  return 'has none of the allowed forms';
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'text',
  array: 'a list',
  object: 'an object',
  record: 'an object',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
};

/** Texts are bounded below only by 1. */
const TOO_SHORT = 'must not be empty';

function bound(which: 'least' | 'most', at: number | bigint, origin: string): string {
  if (origin === 'string') return `needs at ${which} ${at} characters`;
  return origin === 'array' ? `needs at ${which} ${at} of them` : `needs to be at ${which} ${at}`;
}
