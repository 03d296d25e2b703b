// The table of reasons as a page for operators: what stands in the log and in metrics, what the client saw, what to do.
import { type OAuthErrorRow, oauthErrors } from '../core/oauth-errors.ts';
import { type ReasonRow, reasons } from '../core/reasons.ts';

/** docs/reasons.md, from core/reasons.ts and core/oauth-errors.ts. */
export function reasonsReference(): string {
  const rows = Object.entries<ReasonRow>(reasons).map(
    ([reason, { status, code, remedy }]) =>
      `| \`${reason}\` | ${status} | \`${code}\` | ${remedy.replaceAll('|', '\\|')} |`,
  );
  const oauthRows = Object.entries<OAuthErrorRow>(oauthErrors).map(
    ([error, { statuses, source, remedy }]) => `| \`${error}\` | ${statuses.join(', ')} | ${source} | ${remedy} |`,
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
    '## Errors of the OAuth endpoints',
    '',
    'The public endpoints answer `error` and `error_description` in the words of their RFCs, from `src/core/oauth-errors.ts`.',
    '',
    '| error | status | from | what to do |',
    '|---|---|---|---|',
    ...oauthRows,
    '',
  ].join('\n');
}
