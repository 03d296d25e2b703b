// `doorward explain METHOD URL`: what would happen to a request, without sending or charging it.
import { type Command, Option } from 'commander';
import type { ShownLimit, ShownSetting } from '../core/explanation.ts';
import { type AdminOptions, callAdmin, withAdminOptions } from './admin-client.ts';
import { CliError } from './exit-codes.ts';
import { readToken, type Terminal } from './terminal.ts';

interface ExplainOptions extends AdminOptions {
  readonly tokenFile?: string;
  readonly peer?: string;
  readonly verdict?: string;
  readonly header?: readonly string[];
}

interface Answer {
  readonly allowed: boolean;
  readonly reason: string;
  readonly stage: string;
  readonly status: number;
  readonly route?: string;
  readonly route_at?: string;
  readonly rule?: string;
  readonly rule_at?: string;
  readonly remedy: string;
  readonly client_address: string;
  readonly subject?: string;
  readonly client?: string;
  readonly limits: readonly ShownLimit[];
  readonly settings: readonly ShownSetting[];
  readonly upstream?: {
    readonly name: string;
    readonly endpoints: readonly { readonly url: string; readonly address: string; readonly state: string }[];
  };
  readonly upstream_headers: readonly (readonly [string, string])[];
  readonly answer?: { readonly status: number; readonly headers: readonly (readonly [string, string])[] };
}

/** Adds the verb. */
export function addExplain(program: Command, terminal: Terminal): void {
  withAdminOptions(program.command('explain'))
    .description('what would happen to a request, and why')
    .argument('<method>', 'such as GET')
    .argument('<url>', 'absolute URL, or a path')
    .option('--token-file <source>', 'token to send: - for standard input, or a file')
    .option('--peer <ip>', 'address the request comes from')
    .option('--header <line...>', "header fields, as 'Name: value'")
    .addOption(
      new Option('--verdict <flavour>', 'as a front that only asks would be answered').choices([
        'nginx',
        'forward',
        'envoy',
      ]),
    )
    .action(async (method: string, url: string, options: ExplainOptions) => {
      const { peer, tokenFile, verdict, header = [] } = options;
      const token = tokenFile === undefined ? undefined : await readToken(tokenFile, terminal);
      const body = { method: method.toUpperCase(), url, token, peer, verdict, headers: header.map(splitHeader) };
      const answer = (await callAdmin(options, terminal, { method: 'POST', path: '/v1/explain', body })) as Answer;
      if (options.json) terminal.out(JSON.stringify(answer));
      else for (const line of lines(answer)) terminal.out(line);
    });
}

function splitHeader(line: string): [string, string] {
  const at = line.indexOf(':');
  if (at < 1) throw new CliError('usage', "--header needs 'Name: value'");
  return [line.slice(0, at), line.slice(at + 1).trim()];
}

function lines(answer: Answer): string[] {
  const shown: [string, string | undefined][] = [
    ['verdict', answer.allowed ? 'allowed' : `refused with ${answer.status}`],
    ['reason', answer.reason],
    ['stage', answer.stage],
    ['route', placed(answer.route_at, answer.route)],
    ['rule', placed(answer.rule_at, answer.rule)],
    ['address', answer.client_address],
    ['subject', answer.subject],
    ['client', answer.client],
    ...answer.limits.map(({ limit, remaining, local_share: share }): [string, string] => [
      'limit',
      `${limit}: ${remaining} left${share === undefined ? '' : ` of this replica's share of ${share} (Redis is away)`}`,
    ]),
    ...answer.settings.map(({ setting, value, at }): [string, string] => [
      'setting',
      `${at} ${setting}${value === undefined ? '' : `: ${value}`}`,
    ]),
    ...(answer.upstream?.endpoints ?? []).map(({ url, address, state }): [string, string] => [
      'upstream',
      `${answer.upstream?.name}: ${url} at ${address}, ${state}`,
    ]),
    ...answer.upstream_headers.map(([name, value]): [string, string] => ['sent', `${name}: ${value}`]),
    ['answer', answer.answer && String(answer.answer.status)],
    ...(answer.answer?.headers ?? []).map(([name, value]): [string, string] => ['answer', `${name}: ${value}`]),
    ['remedy', answer.allowed ? undefined : answer.remedy],
  ];
  return shown.flatMap(([name, value]) => (value === undefined ? [] : [`${name.padEnd(8)} ${value}`]));
}

/** A word of a verdict behind the place where it stands, where that is known. */
export const placed = (at: string | undefined, word: string | undefined): string | undefined =>
  at === undefined || word === undefined ? word : `${at} ${word}`;
