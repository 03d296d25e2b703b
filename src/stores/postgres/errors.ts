// Turns what the driver and PostgreSQL throw into our errors: trouble with the server is `store_unavailable`, a broken
// constraint is for the aggregate to name, a NUL is `malformed`, anything else is a defect. Messages of PostgreSQL quote values, which may be
// personal or secret, so none of them is kept beyond the words that name objects of the schema.
import postgres from 'postgres';
import { SidecarError, storeUnavailable } from '../../core/errors.ts';

/** A constraint of the schema was broken; the aggregate knows what that means to its caller. */
export class ConstraintViolation extends Error {
  override readonly name = 'ConstraintViolation';
  /** Name of the constraint or unique index; '' for a null in a required column. */
  readonly constraint: string;

  constructor(constraint: string, table: string) {
    super(`${constraint || 'a required column'} of ${table} is violated`);
    this.constraint = constraint;
  }
}

/** Two transactions that cannot be put in an order, or a deadlock: worth another attempt. */
export function isConflict(error: unknown): boolean {
  return error instanceof postgres.PostgresError && (error.code === '40001' || error.code === '40P01');
}

/**
 * A prepared statement that is not there, or that somebody else made under the same name: a pooler lends another connection
 * to every transaction and does not follow prepared statements (PgBouncer before 1.21).
 */
export function isLostStatement(error: unknown): boolean {
  return error instanceof postgres.PostgresError && (error.code === '26000' || error.code === '42P05');
}

/** A prepared statement whose result has other columns since a migration; a connection that has not prepared it yet is needed. */
export function isStaleStatement(error: unknown): boolean {
  return error instanceof postgres.PostgresError && error.code === '0A000' && error.routine === 'RevalidateCachedQuery';
}

/**
 * Codes that mean "not now" or "not here": connection exceptions (08), resources (53), operator intervention and timeouts
 * (57), I/O (58), passwords (28), conflicts that outlasted every attempt (40), locks, a replica that only reads, idle
 * transactions that the server ended, no such database, a database that takes no connections.
 */
const UNAVAILABLE = /^(?:08|28|40|53|57|58)...$|^(?:55000|55P03|25006|25P03|3D000)$/;
/** A NUL in a text, or escaped in JSON: whoever sent it can be told, and no outage and no defect comes of it. */
const UNSTORABLE = new Set(['22021', '22P05']);
/** The driver's own words for calls that were wrong; every other code without SQLSTATE is trouble with the connection. */
const MISUSE = new Set([
  'COPY_IN_PROGRESS',
  'MAX_PARAMETERS_EXCEEDED',
  'NOT_TAGGED_CALL',
  'UNDEFINED_VALUE',
  'UNSAFE_TRANSACTION',
  'ERR_INVALID_ARG_TYPE',
  'ERR_OUT_OF_RANGE',
]);

/** The driver trusts what it reads: in a stream that lost or repeats bytes it stumbles over itself, with an error without a code. */
const INSIDE_DRIVER = /^[^\n]*\n\s+at [^\n]*[\\/]postgres[\\/](?:src|cjs[\\/]src)[\\/]/;

/** Whether after this error the connection still says what it is asked: PostgreSQL or our own work refused, in good order. */
export function isOrderly(error: unknown): boolean {
  return (
    error instanceof postgres.PostgresError || error instanceof SidecarError || error instanceof ConstraintViolation
  );
}

/** What a caller of the store is told; the result is thrown. */
export function storeError(error: unknown): Error {
  if (error instanceof SidecarError || error instanceof ConstraintViolation) return error;
  if (error instanceof postgres.PostgresError) return serverError(error);
  const code = codeOf(error);
  if (code !== '' && !MISUSE.has(code)) return storeUnavailable(`PostgreSQL does not answer (${code})`);
  if (error instanceof TypeError && INSIDE_DRIVER.test(error.stack ?? ''))
    return storeUnavailable('PostgreSQL answers nonsense');
  return error instanceof Error ? error : new TypeError('something that is no error was thrown');
}

function serverError(error: postgres.PostgresError): Error {
  const { code } = error;
  if (code.startsWith('23')) return new ConstraintViolation(error.constraint_name ?? '', error.table_name ?? '');
  if (UNSTORABLE.has(code)) return new SidecarError('malformed', 'request_malformed', 'a text holds a NUL');
  if (UNAVAILABLE.test(code)) return storeUnavailable(`PostgreSQL refused: ${code}`);
  // Class 42 speaks of tables, columns and permissions, never of values.
  return new Error(`PostgreSQL refused: ${code}${code.startsWith('42') ? ` ${error.message}` : ''}`);
}

/** `code` of an error, '' without one. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error) || !('code' in error)) return '';
  return typeof error.code === 'string' ? error.code : '';
}
