// `doorward audit`: look into the audit log, prove it, export it as lines that can be proved anywhere.
import { createReadStream, statSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { SidecarError } from '../core/errors.ts';
import { type AdminOptions, callAdmin, withAdminOptions } from './admin-client.ts';
import { CliError } from './exit-codes.ts';
import { type Terminal, tableLines } from './terminal.ts';

interface ListOptions extends AdminOptions {
  readonly since?: string;
  readonly until?: string;
  readonly type?: string;
  readonly actor?: string;
  readonly subject?: string;
  readonly client?: string;
  readonly tenant?: string;
  readonly requestId?: string;
  readonly limit: string;
  readonly cursor?: string;
}

interface EventItem {
  readonly at: string;
  readonly type: string;
  readonly outcome: string;
  readonly reason: string | null;
  readonly actor: { readonly kind: string; readonly id: string | null };
  readonly address: string | null;
  readonly subject: string | null;
  readonly client: string | null;
  readonly request_id: string | null;
}

interface ReportAnswer {
  readonly ok: boolean;
  readonly chains: number;
  readonly events: number;
  readonly unsigned: number;
  readonly checkpoints: number;
  readonly last_checkpoint: { readonly number: number; readonly at: string; readonly digest: string } | null;
  readonly problems: readonly { readonly problem: string; readonly message: string; readonly writer?: string }[];
  readonly problems_total: number;
}

/** Walking a long log takes a while. */
const VERIFY_TIMEOUT_MS = 60 * 60_000;
const PROGRESS_EVERY_MS = 5000;

/** Adds the noun. */
export function addAudit(program: Command, terminal: Terminal): void {
  const audit = program.command('audit').description('look into the audit log, prove it, export it (needs postgres)');
  withAdminOptions(audit.command('list'))
    .description('events, newest first')
    .option('--since <when>', 'a time, or a duration before now such as 24h')
    .option('--until <when>', 'a time, or a duration before now')
    .option('--type <type>', 'such as token.issued; see docs/audit-events.md')
    .option('--actor <id>', 'operator, client or user who did it')
    .option('--subject <id>', 'whom it was about')
    .option('--client <id>', 'client it was about')
    .option('--tenant <id>', 'tenant it was about')
    .option('--request-id <id>', 'as in the answer and in the log')
    .option('--limit <number>', 'events of one page, 1 to 1000', '100')
    .option('--cursor <cursor>', 'the next page, as the last one printed it')
    .action((options: ListOptions) => list(options, terminal));
  withAdminOptions(audit.command('verify'))
    .description('prove that no event was edited, removed or moved; fails when one was')
    .option('--file <file>', 'verify an export instead of the database')
    .option('--key <kid...>', 'with --file: ids of the keys to believe (default: those in the file, which proves less)')
    .option('--expect <number:digest>', 'a checkpoint noted earlier, which must still be there')
    .action((options: VerifyOptions) => verify(options, terminal));
  withAdminOptions(audit.command('export'))
    .description('the whole log as lines of JSON on standard output')
    .action((options: AdminOptions) => exportAll(options, terminal));
}

async function list(options: ListOptions, terminal: Terminal): Promise<void> {
  const { since, until, type, actor, subject, client, tenant, requestId, limit, cursor } = options;
  const asked = { since, until, type, actor, subject, client, tenant, request_id: requestId, limit, cursor };
  const query = new URLSearchParams(
    Object.entries(asked).filter((pair): pair is [string, string] => pair[1] !== undefined),
  );
  const answer = (await callAdmin(options, terminal, { method: 'GET', path: `/v1/audit?${query}` })) as {
    readonly items: readonly EventItem[];
    readonly next?: string;
  };
  if (options.json) return terminal.out(JSON.stringify(answer));
  const head = ['AT', 'TYPE', 'OUTCOME', 'ACTOR', 'FROM', 'SUBJECT', 'CLIENT', 'REQUEST'];
  for (const line of tableLines([head, ...answer.items.map(rowOf)])) terminal.out(line);
  if (answer.next !== undefined) terminal.err(`more: --cursor ${answer.next}`);
}

const rowOf = (item: EventItem): string[] => [
  item.at,
  item.type,
  item.reason === null ? item.outcome : `${item.outcome} (${item.reason})`,
  item.actor.id ?? item.actor.kind,
  item.address ?? '-',
  item.subject ?? '-',
  item.client ?? '-',
  item.request_id ?? '-',
];

interface VerifyOptions extends AdminOptions {
  readonly file?: string;
  readonly key?: readonly string[];
  readonly expect?: string;
}

async function verify(options: VerifyOptions, terminal: Terminal): Promise<void> {
  const startedMs = performance.now();
  const seconds = () => Math.round((performance.now() - startedMs) / 1000);
  const telling = setInterval(() => terminal.err(`still verifying after ${seconds()} s`), PROGRESS_EVERY_MS);
  const verifying =
    options.file === undefined ? verifyHere(options, terminal) : verifyFile(options.file, options, terminal);
  const report = await verifying.finally(() => clearInterval(telling));
  if (options.json) terminal.out(JSON.stringify(report));
  else for (const line of sentences(report)) terminal.out(line);
  if (!report.ok) throw new CliError('failure', `the audit log does not hold: ${report.problems_total} problems`);
}

/** A log that was set back as a whole is sound in itself: only a checkpoint noted elsewhere shows it. */
function refuseExpected(given: string, found: string | undefined): void {
  const number = given.split(':', 1)[0] as string;
  if (found === given.slice(number.length + 1)) return;
  throw new CliError(
    'failure',
    `checkpoint ${number} is ${found === undefined ? 'not there' : 'another one'}: the log was set back`,
  );
}

async function verifyHere(options: VerifyOptions, terminal: Terminal): Promise<ReportAnswer> {
  const expected = options.expect === undefined ? '' : `?checkpoint=${parseExpected(options.expect)}`;
  const path = `/v1/audit/verify${expected}`;
  const answer = (await callAdmin(options, terminal, {
    method: 'GET',
    path,
    timeoutMs: VERIFY_TIMEOUT_MS,
  })) as ReportAnswer & {
    readonly asked_digest?: string | null;
  };
  if (options.expect !== undefined) refuseExpected(options.expect, answer.asked_digest ?? undefined);
  return answer;
}

function parseExpected(text: string): string {
  const match = /^(\d{1,15}):[0-9a-f]{64}$/.exec(text);
  if (match === null)
    throw new CliError('usage', '--expect needs the number and digest of a checkpoint, such as 12:3f…');
  return match[1] as string;
}

async function verifyFile(file: string, options: VerifyOptions, terminal: Terminal): Promise<ReportAnswer> {
  const [{ exportedEvidence }, { verifyAudit }, { reportBody }, { checkpointDigest }] = await Promise.all([
    import('../audit/export-lines.ts'),
    import('../audit/verify.ts'),
    import('../audit/report.ts'),
    import('../audit/checkpoint.ts'),
  ]);
  // Read once for the checkpoints, once for the events: of a pipe nothing would be left, and nothing would be wrong.
  if (!statSync(file).isFile()) throw new CliError('usage', `${file} is no regular file, which verifying needs`);
  const lines = () => createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY });
  const { evidence, keyIds } = exportedEvidence(lines, options.key);
  const report = reportBody(await verifyAudit(evidence).catch((error) => unreadable(file, error))) as unknown;
  if (options.key === undefined) {
    terminal.err(`signed by ${[...keyIds].join(', ') || 'nobody'}: compare with \`audit verify\` there, or give --key`);
  }
  if (options.expect !== undefined) {
    const number = Number(parseExpected(options.expect));
    let found: string | undefined;
    for await (const stored of evidence.checkpoints(number - 1))
      if (stored.number === number) found = checkpointDigest(stored);
    refuseExpected(options.expect, found);
  }
  return report as ReportAnswer;
}

function unreadable(file: string, cause: unknown): never {
  throw cause instanceof SidecarError ? new CliError('failure', `${file}: ${cause.message}`, { cause }) : cause;
}

function sentences(report: ReportAnswer): string[] {
  const { last_checkpoint: last, problems, problems_total: total } = report;
  const counted = `${report.events} events in ${report.chains} chains, ${report.checkpoints} checkpoints`;
  const signed = last === null ? 'no checkpoint yet' : `last checkpoint ${last.number}:${last.digest} of ${last.at}`;
  const lines = problems.map(
    ({ problem, message, writer }) => `${problem}: ${message}${writer === undefined ? '' : ` (chain ${writer})`}`,
  );
  if (total > problems.length) lines.push(`and ${total - problems.length} more`);
  return [
    ...lines,
    `${counted}; ${report.unsigned} not yet signed for`,
    signed,
    ...(report.ok ? ['everything holds'] : []),
  ];
}

async function exportAll(options: AdminOptions, terminal: Terminal): Promise<void> {
  for (let cursor: string | undefined = ''; cursor !== undefined; ) {
    const path = `/v1/audit/export?limit=500&cursor=${encodeURIComponent(cursor)}`;
    const page = (await callAdmin(options, terminal, { method: 'GET', path })) as {
      readonly lines: readonly unknown[];
      readonly next?: string;
    };
    for (const line of page.lines) terminal.out(JSON.stringify(line));
    cursor = page.next;
  }
}
