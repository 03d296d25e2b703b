// Shapes that answers of several endpoints share. They describe and do not check: tests hold every real answer against them.
import { z } from 'zod';
import { type AuditType, auditTypeNames } from '../core/audit-types.ts';
import { type Reason, reasons } from '../core/reasons.ts';

/** A time, UTC, RFC 3339 with milliseconds. */
export const time = z.iso.datetime({ precision: 3 });

/** A time, or null for none. */
export const timeOrNull = time.nullable();

/** A figure from 0. */
export const count = z.int().min(0);

/** One page of a list, newest first unless the endpoint says otherwise; `next` goes into `cursor`, and is absent on the last page. */
export const pageShape = <T extends z.ZodType>(item: T) =>
  z.strictObject({ items: z.array(item), next: z.string().optional() });

/** A whole list. */
export const listShape = <T extends z.ZodType>(item: T) => z.strictObject({ items: z.array(item) });

/** `all`: every replica that is reachable knows; `pending`: in force here and kept, sent to the others as soon as Redis is back. */
export const applied = z.enum(['all', 'pending']);

/** The closed list of audit events. */
export const auditType = z.enum(auditTypeNames as [AuditType, ...AuditType[]]);

/** The closed list of reasons. */
export const reason = z.enum(Object.keys(reasons) as [Reason, ...Reason[]]);
