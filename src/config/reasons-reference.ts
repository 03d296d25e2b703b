// The table of reasons as a page for operators: what stands in the log and in metrics, what the client saw, what to do.
import { type ReasonRow, reasons } from '../core/reasons.ts';

/** docs/reasons.md, from core/reasons.ts. */
export function reasonsReference(): string {
  const rows = Object.entries<ReasonRow>(reasons).map(
    ([reason, { status, code, remedy }]) =>
      `| \`${reason}\` | ${status} | \`${code}\` | ${remedy.replaceAll('|', '\\|')} |`,
  );
  return [
    '# Reasons',
    '',
    'Generated from `src/core/reasons.ts` by `npm run schema`. The same reason stands in the decision log, in the label of',
    '`doorward_decisions_total` and in `doorward why`. Clients see the status and the code only.',
    '',
    '| reason | status | code | what to do |',
    '|---|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}
