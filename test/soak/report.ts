// The table at the end of a soak.
import type { Ledger } from './ledger.ts';

/** One thing that had to hold. */
export interface Check {
  readonly what: string;
  readonly holds: boolean;
  readonly figure: string;
}

/** Prints requests by kind, problems and checks; true when there was no problem and every check holds. */
export function report(ledger: Ledger, checks: readonly Check[], seconds: number): boolean {
  const rows = [...ledger.rows.values()].sort((a, b) => a.kind.localeCompare(b.kind));
  const count = (problems: ReadonlyMap<string, number>) => [...problems.values()].reduce((sum, n) => sum + n, 0);
  console.log(`\n${'kind'.padEnd(26)}${'requests'.padStart(10)}${'answered'.padStart(10)}${'problems'.padStart(10)}`);
  for (const { kind, begun, settled, problems } of rows) {
    const figures = [begun, settled, count(problems)].map((figure) => String(figure).padStart(10));
    console.log(`${kind.padEnd(26)}${figures.join('')}`);
  }
  const total = rows.reduce((sum, { begun }) => sum + begun, 0);
  console.log(
    `${'all'.padEnd(26)}${String(total).padStart(10)}   ${(total / seconds).toFixed(0)}/s over ${seconds} s\n`,
  );
  for (const { kind, problems } of rows) {
    for (const [text, times] of problems) console.log(`PROBLEM ${kind}: ${text} (${times} times)`);
  }
  for (const { what, holds, figure } of checks) console.log(`${holds ? 'ok    ' : 'FAILED'} ${what}: ${figure}`);
  return checks.every(({ holds }) => holds) && rows.every(({ problems }) => problems.size === 0);
}
