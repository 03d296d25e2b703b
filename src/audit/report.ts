// The report of a verification as JSON, for the admin API and for the offline verification alike.
import type { AuditReport } from './findings.ts';

/** A report with names as JSON spells them. */
export function reportBody(report: AuditReport): Record<string, unknown> {
  const { lastCheckpoint: last } = report;
  return {
    ok: report.ok,
    chains: report.chains,
    events: report.events,
    unsigned: report.unsigned,
    checkpoints: report.checkpoints,
    last_checkpoint: last ? { number: last.number, at: new Date(last.atMs).toISOString(), digest: last.digest } : null,
    problems: report.problems,
    problems_total: report.problemsTotal,
  };
}
