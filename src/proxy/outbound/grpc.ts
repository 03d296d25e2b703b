// Refusals for gRPC clients, which look for `grpc-status` and make little of a problem document: a whole answer in one head
// ("trailers-only"). What we refused, and why, stands in the decision record as always.
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
import { findField } from '../../http/headers.ts';
import type { Problem } from '../../http/problem.ts';

/** By HTTP status; what is not listed is UNKNOWN. */
const codes: Readonly<Record<number, number>> = {
  400: 3,
  401: 16,
  403: 7,
  404: 12,
  405: 12,
  408: 4,
  413: 8,
  421: 14,
  429: 8,
  431: 8,
  499: 1,
  500: 13,
  501: 12,
  502: 14,
  503: 14,
  504: 14,
};
const UNKNOWN = 2;
const GRPC = /^application\/grpc(?:$|[+;])/i;

/** True when the content type of an HTTP/2 request is gRPC's. */
export function isGrpc(rawFields: readonly string[]): boolean {
  return GRPC.test(findField(rawFields, 'content-type') ?? '');
}

/** Fields of the answer to a gRPC request that is refused with `problem`; its status is 200. */
export function grpcRefusal(status: number, fields: readonly string[], body: string): string[] {
  const out = ['content-type', 'application/grpc', 'grpc-status', String(codes[status] ?? UNKNOWN)];
  out.push('grpc-message', messageOf(body));
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] as string;
    if (!/^content-/i.test(name)) out.push(name, fields[at + 1] as string);
  }
  return out;
}

/** The public code of a problem document: plain words, which need no percent-encoding. */
function messageOf(body: Problem['body']): string {
  return (JSON.parse(body) as { code: string }).code;
}
