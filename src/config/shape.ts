// A plain view of the schema for those who walk it beside a tree: the environment overlay, the fill-in of defaults, the
// list of restart settings, the reference. Wrappers (optional, prefault, transform) are peeled off; unions are flattened.
import { z } from 'zod';
import type { Reload } from './fields.ts';

/** What the schema allows at one place, as people write it (before transforms). */
export type Shape =
  | { readonly kind: 'object'; readonly schema: z.ZodType; readonly fields: Readonly<Record<string, z.ZodType>> }
  | { readonly kind: 'record'; readonly schema: z.ZodType; readonly key: z.ZodType; readonly value: z.ZodType }
  | { readonly kind: 'list'; readonly schema: z.ZodType; readonly element: z.ZodType }
  | {
      readonly kind: 'scalar';
      readonly schema: z.ZodType;
      readonly type: ScalarType;
      readonly words?: readonly string[];
    };

/** Types a scalar may have; `any` where the schema does not say (members of an inline key). */
export type ScalarType = 'string' | 'number' | 'boolean' | 'null' | 'any';

/** What a setting says about itself beside its type. */
export interface SettingMeta {
  readonly description?: string;
  readonly reload?: Reload;
  readonly secret?: boolean;
}

type Def = z.core.$ZodTypes['_zod']['def'];
const defOf = (schema: z.ZodType): Def => schema._zod.def as unknown as Def;
const typed = (schema: z.core.$ZodType): z.ZodType => schema as z.ZodType;

const cache = new WeakMap<z.ZodType, readonly Shape[]>();

/** All alternatives at a place; one unless the schema is a union. */
export function shapesOf(schema: z.ZodType): readonly Shape[] {
  const known = cache.get(schema);
  if (known) return known;
  const shapes = computeShapes(schema);
  cache.set(schema, shapes);
  return shapes;
}

function computeShapes(schema: z.ZodType): readonly Shape[] {
  const def = defOf(schema);
  switch (def.type) {
    case 'optional':
    case 'prefault':
      return shapesOf(typed(def.innerType));
    case 'pipe':
      return shapesOf(typed(def.in));
    case 'union':
      return def.options.flatMap((option) => shapesOf(typed(option)));
    case 'object':
      return [{ kind: 'object', schema, fields: def.shape as Record<string, z.ZodType> }];
    case 'record':
      return [{ kind: 'record', schema, key: typed(def.keyType), value: typed(def.valueType) }];
    case 'array':
      return [{ kind: 'list', schema, element: typed(def.element) }];
    default:
      return [scalarShape(schema, def)];
  }
}

function scalarShape(schema: z.ZodType, def: Def): Shape {
  switch (def.type) {
    case 'enum':
      return { kind: 'scalar', schema, type: 'string', words: Object.values(def.entries).map(String) };
    case 'literal': {
      const type = typeof def.values[0] as 'string' | 'number' | 'boolean';
      return { kind: 'scalar', schema, type, words: def.values.map(String) };
    }
    case 'string':
    case 'number':
    case 'boolean':
    case 'null':
      return { kind: 'scalar', schema, type: def.type };
    case 'unknown':
      return { kind: 'scalar', schema, type: 'any' };
    default:
      throw new TypeError(`the schema uses ${def.type}, which shape.ts does not know`);
  }
}

/** The schema below one step of a path, of the first alternative that has it. */
export function childOf(schema: z.ZodType, step: string | number): z.ZodType | undefined {
  for (const shape of shapesOf(schema)) {
    if (shape.kind === 'object' && Object.hasOwn(shape.fields, step)) return shape.fields[step];
    if (shape.kind === 'record' && typeof step === 'string') return shape.value;
    if (shape.kind === 'list' && typeof step === 'number') return shape.element;
  }
  return undefined;
}

/** The schema at a path; undefined when no setting stands there. */
export function schemaAt(root: z.ZodType, path: readonly (string | number)[]): z.ZodType | undefined {
  return path.reduce<z.ZodType | undefined>((schema, step) => schema && childOf(schema, step), root);
}

/** Names of the settings directly under a place, over all alternatives. */
export function fieldNames(schema: z.ZodType): string[] {
  return shapesOf(schema).flatMap((shape) => (shape.kind === 'object' ? Object.keys(shape.fields) : []));
}

/** The default as people write it, or undefined. */
export function defaultOf(schema: z.ZodType): unknown {
  const def = defOf(schema);
  return def.type === 'prefault' ? def.defaultValue : undefined;
}

/** True when the setting may be left out. */
export function isOptional(schema: z.ZodType): boolean {
  const { type } = defOf(schema);
  return type === 'optional' || type === 'prefault';
}

/** Doc line, reload mark and secret mark; those of the outermost wrapper win. */
export function metaOf(schema: z.ZodType): SettingMeta {
  const own = (z.globalRegistry.get(schema) ?? {}) as SettingMeta;
  const def = defOf(schema);
  if (def.type !== 'optional' && def.type !== 'prefault') return own;
  return { ...metaOf(typed(def.innerType)), ...own };
}

/** True when the setting is a reference to a secret. */
export function isSecret(schema: z.ZodType): boolean {
  return metaOf(schema).secret === true;
}
