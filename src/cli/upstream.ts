// `doorward upstream list`: the endpoints behind a running sidecar, and which of them take requests.
import type { Command } from 'commander';
import { type AdminOptions, callAdmin, withAdminOptions } from './admin-client.ts';
import { type Terminal, tableLines } from './terminal.ts';

interface UpstreamsAnswer {
  readonly items: readonly {
    readonly name: string;
    readonly requests: number;
    readonly waiting: number;
    readonly connections: number;
    readonly endpoints: readonly {
      readonly address: string;
      readonly state: string;
      readonly requests: number;
      readonly connect_failures: number;
      readonly failures: number;
      readonly ejected_for_ms: number;
    }[];
  }[];
}

type Endpoint = UpstreamsAnswer['items'][number]['endpoints'][number];

/** Adds the noun. */
export function addUpstream(program: Command, terminal: Terminal): void {
  const upstream = program.command('upstream').description('look at upstreams');
  withAdminOptions(upstream.command('list'))
    .description('endpoints of all upstreams, and which of them take requests')
    .action(async (options: AdminOptions) => {
      const answer = (await callAdmin(options, terminal, { method: 'GET', path: '/v1/upstreams' })) as UpstreamsAnswer;
      if (options.json) return terminal.out(JSON.stringify(answer));
      const rows = answer.items.flatMap(({ name, endpoints }) =>
        endpoints.map((endpoint) => [
          name,
          endpoint.address,
          endpoint.state,
          String(endpoint.requests),
          remarks(endpoint),
        ]),
      );
      for (const line of tableLines([['UPSTREAM', 'ENDPOINT', 'STATE', 'REQUESTS', ''], ...rows])) terminal.out(line);
    });
}

function remarks({ connect_failures, failures, ejected_for_ms }: Endpoint): string {
  const said = [
    connect_failures > 0 && `failed connects in a row: ${connect_failures}`,
    failures > 0 && `failed requests in a row: ${failures}`,
    ejected_for_ms > 0 && `back in ${Math.ceil(ejected_for_ms / 1000)} s`,
  ];
  return said.filter((each) => each !== false).join(', ');
}
