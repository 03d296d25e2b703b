// What one endpoint of the admin port is: a row of the table in endpoints.ts. Handlers get validated input and return plain
// values; bytes, status lines and refusals are server.ts's.
import type { z } from 'zod';
import type { AuditType } from '../core/audit-types.ts';
import { SidecarError } from '../core/errors.ts';
import type { Reason } from '../core/reasons.ts';
import type { FieldProblem } from '../http/problem.ts';
import type { AdminDependencies, ConfigProblem } from './dependencies.ts';
import { fieldProblems, unknownField } from './field-problems.ts';
import type { Operator } from './operator-token.ts';

/** A call that passed authentication and validation. */
export interface AdminCall<Body = unknown, Query = unknown> {
  readonly requestId: string;
  readonly operator: Operator;
  /** Peer address, or `socket`. */
  readonly address: string;
  /** Decoded segments of the path, by the name in the template. */
  readonly path: Readonly<Record<string, string>>;
  readonly query: Query;
  readonly body: Body;
  /** The one entity tag of If-Match, without its quotes; undefined without the field or for `*`. */
  readonly ifMatch?: string | undefined;
}

/** What a handler answers; an undefined body is an empty one. */
export interface AdminAnswer {
  readonly status: number;
  readonly body?: unknown;
  /** Version of the thing in the body, which If-Match may name; sent quoted as ETag. */
  readonly etag?: string | undefined;
  /**
   * What the audit event says beyond the row: ids and words, never a token. Present on every change. `subject`, `client` and
   * `tenant` become members of the event that can be searched for; the rest are its details.
   */
  readonly audit?: Readonly<Record<string, unknown>>;
  /** Where it depends on the outcome, the type of event instead of the row's. */
  readonly event?: AuditType;
}

/** A row of the table. */
export interface Endpoint {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** `/v1/limits/{name}/{key}`: `{…}` stands for one segment. */
  readonly path: string;
  readonly permission: string;
  /** Type of the audit event of a call that has `audit` in its answer, or fails; default `admin.changed`. */
  readonly event?: AuditType;
  /**
   * `tenant`: operators of one tenant may call it, and are handed desks that hold nothing but their tenant (fence.ts). Without,
   * they are refused.
   */
  readonly reach?: 'tenant';
  /** Schema of the JSON body; without one a body is refused. */
  readonly body?: z.ZodType | undefined;
  /** Schema of the query; without one every parameter is refused. */
  readonly query?: z.ZodType | undefined;
  /** What the document says of the body where the handler reads it more exactly than `body`. */
  readonly bodyForms?: z.ZodType | undefined;
  /** True: changes a thing with an ETag, and honours If-Match with {@link preconditionFailed}. Elsewhere If-Match is 412. */
  readonly versioned?: boolean;
  /** Schema of the body of every success by its status; null for none. A POST that answers 201 takes Idempotency-Key. */
  readonly answers: Readonly<Record<number, z.ZodType | null>>;
  /** Refusals of its own, beyond those that follow from the row (openapi.ts). */
  readonly refusals?: readonly Reason[] | undefined;
  /** What it does, for the reference. */
  readonly summary: string;
  readonly handler: (dependencies: AdminDependencies, call: AdminCall) => Promise<AdminAnswer> | AdminAnswer;
}

/** Ties a handler to the types of its schemas. */
export function endpoint<B extends z.ZodType, Q extends z.ZodType>(
  row: Omit<Endpoint, 'handler' | 'body' | 'query'> & {
    readonly body?: B;
    readonly query?: Q;
    readonly handler: (
      dependencies: AdminDependencies,
      call: AdminCall<z.output<B>, z.output<Q>>,
    ) => Promise<AdminAnswer> | AdminAnswer;
  },
): Endpoint {
  return row as unknown as Endpoint;
}

/** Fields that a schema refuses, or that only the handler can judge: answered 422 with all of them. */
export class FieldsError extends SidecarError {
  readonly fields: readonly FieldProblem[];

  constructor(fields: readonly FieldProblem[]) {
    super('malformed', 'fields_invalid', 'fields are invalid');
    this.fields = fields;
  }
}

/** A configuration that does not hold: answered 422 with every problem and its place. */
export class ConfigRefused extends SidecarError {
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super('malformed', 'config_refused', 'the configuration was refused');
    this.problems = problems;
  }
}

/** The thing that the path names does not exist: 404. */
export function notFound(message: string): SidecarError {
  return new SidecarError('not_found', 'resource_not_found', message);
}

/** The thing is no longer the version that If-Match names: 412, nothing was changed. */
export function preconditionFailed(message: string): SidecarError {
  return new SidecarError('conflict', 'precondition_failed', message);
}

/** True when the row makes something, and so takes Idempotency-Key. */
export function isCreation({ method, answers }: Endpoint): boolean {
  return method === 'POST' && 201 in answers;
}

/** The operation needs something that this sidecar is not configured for: 501. */
export function notConfigured(message: string): SidecarError {
  return new SidecarError('misconfigured', 'not_configured', message);
}

/** Input of a call against its schema. Throws {@link FieldsError}; no message quotes a value. */
export function validated(schema: z.ZodType | undefined, input: Record<string, unknown>): unknown {
  if (schema === undefined) {
    const unknown = Object.keys(input).map((key) => unknownField(key));
    if (unknown.length > 0) throw new FieldsError(unknown);
    return undefined;
  }
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  throw new FieldsError(fieldProblems(result.error, schema, input));
}
