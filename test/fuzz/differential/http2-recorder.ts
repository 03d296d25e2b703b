// An HTTP/2 upstream (node's) for differential runs. Identity headers in trailers count as sent, and answers come in every form.
import type { ServerHttp2Stream } from 'node:http2';
import { recordingHttp2Upstream, type SeenHttp2Request } from '../../support/recording-http2-upstream.ts';
import { echoOf, fieldOf, identityOf, type Seen, type Upstream } from './recorder.ts';

/** Starts it. */
export async function startHttp2Recorder(): Promise<Upstream> {
  const seen: Seen[] = [];
  const upstream = await recordingHttp2Upstream((stream, request) => {
    const one = seenOf(request);
    seen.push(one);
    answer(stream, seen.length % 4, echoOf(one.id, one.tag, one.method), one.method);
  });
  const { url, broken } = upstream;
  const stop = () => upstream[Symbol.asyncDispose]();
  return { name: 'http2', protocol: 'http2', url, seen, broken, answersAll: true, [Symbol.asyncDispose]: stop };
}

const pairs = (list: readonly string[]) =>
  list.flatMap((name, at) => (at % 2 === 0 ? [[name, list[at + 1] as string] as const] : []));

function seenOf({ fields: list, body, trailers }: SeenHttp2Request): Seen {
  const fields = pairs(list);
  const of = (name: string) => fieldOf({ fields }, name);
  const target = of(':path');
  return {
    id: of('x-request-id'),
    tag: of('x-tag'),
    method: of(':method'),
    target,
    path: target.replace(/\?.*$/s, ''),
    host: of(':authority'),
    body,
    identity: identityOf([...fields, ...pairs(trailers)]),
  };
}

function answer(stream: ServerHttp2Stream, kind: number, echo: string, method: string): void {
  const head = { ':status': 200, 'x-echo': echo, 'content-type': 'text/plain' };
  if (method === 'HEAD') stream.respond(head, { endStream: true });
  else if (kind === 0) {
    stream.respond({ ...head, 'content-length': String(echo.length) });
    stream.end(echo);
  } else if (kind === 1) {
    stream.respond(head, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-trailer': 'late' }));
    stream.end(echo);
  } else {
    if (kind === 2) stream.additionalHeaders({ ':status': 103, link: '</x>' });
    stream.respond(head);
    stream.write(echo.slice(0, 5));
    setImmediate(() => stream.end(echo.slice(5)));
  }
}
