// Resolves {env}, {file} and {value} references. An unresolved secret refuses the start: it is never an empty string,
// because an empty HMAC key or password opens what it should close. Resolved values leave this module only through get(),
// and through reveal() to a worker process of ours.
import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { inspect } from 'node:util';
import type { z } from 'zod';
import { nearestName } from '../core/nearest.ts';
import type { Environment } from './environment.ts';
import type { SecretReference } from './fields.ts';
import type { Path } from './places.ts';
import type { Finding } from './problem.ts';
import { isSecret, shapesOf } from './shape.ts';
import { isTree } from './tree.ts';

const MASK = '[secret]';

/** Resolved secrets, by the reference that stands in the configuration. Cannot be printed, enumerated or serialised. */
export class Secrets {
  readonly #values = new Map<string, string>();

  /** The secret behind a reference of the loaded configuration. A reference that was never resolved is a TypeError. */
  get(reference: SecretReference): string {
    const value = this.#values.get(secretKey(reference));
    if (value === undefined) throw new TypeError('this secret reference is not part of the loaded configuration');
    return value;
  }

  /** True when the reference was resolved. */
  has(reference: SecretReference): boolean {
    return this.#values.has(secretKey(reference));
  }

  /** SHA-256 of the secret, to see a rotation without the secret; for use inside a further hash only. */
  digest(reference: SecretReference): string {
    return hash('sha256', this.get(reference), 'hex');
  }

  /** A copy in which the given references keep the values that `earlier` has. */
  keeping(references: readonly SecretReference[], earlier: Secrets): Secrets {
    const copy = new Secrets();
    for (const [key, value] of this.#values) copy.#values.set(key, value);
    for (const reference of references) copy.#values.set(secretKey(reference), earlier.get(reference));
    return copy;
  }

  /** Resolves one reference; what is wrong comes back as words, never with a value in them. */
  resolve(reference: SecretReference, env: Environment, file: string): SecretTrouble | undefined {
    const read = readSecret(reference, env, file);
    if (!read.trouble) this.#values.set(secretKey(reference), read.value);
    return read.trouble;
  }

  /** Every value by its reference, for a process of this program that serves the same configuration; for nothing else. */
  reveal(): ReadonlyMap<string, string> {
    return new Map(this.#values);
  }

  /** What {@link Secrets.reveal} gave, as secrets again. */
  static of(values: ReadonlyMap<string, string>): Secrets {
    const secrets = new Secrets();
    for (const [key, value] of values) secrets.#values.set(key, value);
    return secrets;
  }

  toJSON(): string {
    return MASK;
  }

  [inspect.custom](): string {
    return MASK;
  }
}

const secretKey = (reference: SecretReference): string => JSON.stringify(Object.entries(reference));

/** A path of the configuration: relative ones start at the folder of the configuration file. */
export function resolveBeside(file: string, path: string): string {
  return resolve(dirname(file), path);
}

type SecretTrouble = Pick<Finding, 'message' | 'nearest'>;
type ReadSecret = { readonly value: string; readonly trouble?: undefined } | { readonly trouble: SecretTrouble };

function readSecret(reference: SecretReference, env: Environment, file: string): ReadSecret {
  if ('value' in reference) return { value: reference.value };
  return 'env' in reference ? readVariable(reference.env, env) : readSecretFile(resolveBeside(file, reference.file));
}

function readVariable(name: string, env: Environment): ReadSecret {
  const value = Object.hasOwn(env, name) ? env[name] : undefined;
  if (value) return { value };
  if (value === '') return { trouble: { message: `environment variable ${name} is empty` } };
  const nearest = nearestName(name, Object.keys(env), 1 / 4);
  return { trouble: { message: `environment variable ${name} is not set`, nearest } };
}

function readSecretFile(path: string): ReadSecret {
  const read = readText(path);
  if ('trouble' in read) return { trouble: { message: read.trouble } };
  const value = read.text.replace(/\r?\n$/, '');
  return value === '' ? { trouble: { message: `file ${path} is empty` } } : { value };
}

const LARGEST_SECRET_FILE = 1024 * 1024;

/** The text of a small file, or why it cannot be read. */
export function readText(path: string): { readonly text: string } | { readonly trouble: string } {
  try {
    const text = readFileSync(path, 'utf8');
    return text.length > LARGEST_SECRET_FILE ? { trouble: `file ${path} is larger than 1MiB` } : { text };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    return { trouble: `file ${path} cannot be read (${code})` };
  }
}

/** Every secret reference of a tree with its path, found through the schema. */
export function secretReferences(tree: unknown, schema: z.ZodType, path: Path = []): [Path, SecretReference][] {
  if (isSecret(schema) && isTree(tree)) return [[path, tree as SecretReference]];
  const found: [Path, SecretReference][] = [];
  for (const shape of shapesOf(schema)) {
    if (shape.kind === 'list' && Array.isArray(tree)) {
      for (const [index, item] of tree.entries())
        found.push(...secretReferences(item, shape.element, [...path, index]));
    }
    if (!isTree(tree) || (shape.kind !== 'object' && shape.kind !== 'record')) continue;
    for (const [key, value] of Object.entries(tree)) {
      const below = shape.kind === 'record' ? shape.value : Object.hasOwn(shape.fields, key) && shape.fields[key];
      if (below) found.push(...secretReferences(value, below, [...path, key]));
    }
  }
  return found;
}
