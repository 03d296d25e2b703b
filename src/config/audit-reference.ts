// The closed list of audit events as a page for operators, for filters of `doorward audit list` and of SQL.
import { type AuditTypeRow, auditTypes } from '../core/audit-types.ts';

/** docs/audit-events.md, from core/audit-types.ts. */
export function auditEventsReference(): string {
  const rows = Object.entries<AuditTypeRow>(auditTypes).map(
    ([type, { category, severity, meaning }]) => `| \`${type}\` | ${category} | ${severity} | ${meaning} |`,
  );
  return [
    '# Audit events',
    '',
    'Generated from `src/core/audit-types.ts` by `npm run schema`. The same names stand in the log line `audit`, in the column',
    '`type` of `audit_event`, in the table `audit_type`, in the label of `doorward_audit_events_total` and in the filter `type`',
    'of `/v1/audit`. No other name exists.',
    '',
    '| type | category | severity | meaning |',
    '|---|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}
