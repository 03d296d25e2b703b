// Who is calling behind proxies, by the rows of proxy-addr, forwarded and HAProxy. Their "trust" becomes CIDRs; a trust
// function is one of three (all, none, 10.x). Of a chain we only claim the address at its end.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressReader, elementAddress, forwardedElements } from '../../src/http/client-address.ts';
import { assertDeviations, corpora, type Judged, type Row, rowsOf } from '../support/corpora.ts';

interface ForwardedRow extends Row {
  readonly input: {
    readonly kind: string;
    readonly socket?: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly trust?: string | readonly string[] | null;
    readonly header?: string;
  };
  readonly expect: {
    readonly result?: string | readonly string[];
    readonly valid?: boolean;
    readonly value?: string;
  };
}

const everybody = ['0.0.0.0/0', '::/0'];
const named: Readonly<Record<string, readonly string[]>> = {
  loopback: ['127.0.0.0/8', '::1/128'],
  linklocal: ['169.254.0.0/16', 'fe80::/10'],
};

function trustedBy(trust: ForwardedRow['input']['trust']): readonly string[] {
  if (trust === null || trust === undefined) return everybody;
  if (typeof trust !== 'string') return trust.flatMap(trustedBy);
  if (!trust.startsWith('fn:')) return named[trust] ?? [trust];
  if (trust.includes('return false')) return [];
  return trust.includes('10') ? ['10.0.0.0/8'] : everybody;
}

function clientOf({ socket, headers, trust }: ForwardedRow['input']): string {
  const reader = addressReader(trustedBy(trust), 'x_forwarded_for');
  const peer = reader.peer(socket);
  const line = headers?.['x-forwarded-for'];
  return (peer.trusted ? reader.behind(peer, line === undefined ? [] : [line]) : peer).address;
}

function judge(row: ForwardedRow): unknown {
  const { input, expect } = row;
  if (input.kind === 'rfc7239-valid') return forwardedElements([input.header as string]) !== undefined;
  if (input.kind.startsWith('rfc7239')) {
    const element = forwardedElements([input.header as string])?.[0];
    return element === undefined ? undefined : elementAddress(element)?.address;
  }
  return clientOf(input) === [expect.result].flat().at(-1) ? expect.result : clientOf(input);
}

if (corpora === undefined) {
  test('the corpora are not beside this repository (../shared/corpora), so none was run', () => {});
} else {
  test('every row of forwarded-headers gives the client address that it should, or is argued', () => {
    const deviations: Judged[] = [];
    const rows = rowsOf<ForwardedRow>('forwarded-headers');
    for (const row of rows) {
      const wanted = row.expect.result ?? row.expect.valid ?? row.expect.value;
      let got: unknown;
      try {
        got = judge(row);
      } catch (error) {
        got = String(error);
      }
      if (got !== wanted) deviations.push({ id: row.id, verdict: 'FAIL', why: `${wanted} expected, got ${got}` });
    }
    assertDeviations('forwarded-headers', deviations);
    assert.equal(rows.length, 65);
  });
}
