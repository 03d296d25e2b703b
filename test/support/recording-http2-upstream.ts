// A real HTTP/2 upstream (h2c, node's server) that writes down every request with its trailers, and how it ended.
import { once } from 'node:events';
import { createServer, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';

/** A request as the upstream saw it; names and values in turn. */
export interface SeenHttp2Request {
  readonly fields: readonly string[];
  readonly body: string;
  readonly trailers: readonly string[];
}

/** An upstream under test control. */
export interface RecordingHttp2Upstream extends AsyncDisposable {
  readonly url: string;
  /** Requests whose end has come. */
  readonly seen: SeenHttp2Request[];
  /** Header lists of all requests, also of those that never ended. */
  readonly begun: (readonly string[])[];
  /** Errors of connections. */
  readonly broken: string[];
}

/** The values of one field of a list. */
export const valuesIn = (list: readonly string[], name: string): readonly string[] =>
  list.filter((_value, at) => at % 2 === 1 && list[at - 1] === name);

type Answer = (stream: ServerHttp2Stream, seen: SeenHttp2Request) => void;

const plain: Answer = (stream) => {
  stream.respond({ ':status': 200 });
  stream.end('seen');
};

/** Starts the upstream; it answers when a request has ended. */
export async function recordingHttp2Upstream(answer: Answer = plain): Promise<RecordingHttp2Upstream> {
  const seen: SeenHttp2Request[] = [];
  const begun: (readonly string[])[] = [];
  const broken: string[] = [];
  const sessions = new Set<ServerHttp2Session>();
  const server = createServer();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('error', (error) => broken.push(String(error)));
    session.on('close', () => sessions.delete(session));
  });
  server.on('stream', (stream: ServerHttp2Stream, _headers, _flags, fields) => {
    begun.push(fields);
    let trailers: readonly string[] = [];
    let body = '';
    stream.on('error', () => {});
    stream.on('trailers', (_fields, _trailerFlags, list: readonly string[]) => {
      trailers = list;
    });
    stream.on('data', (chunk: Buffer) => {
      body += chunk.toString('latin1');
    });
    stream.on('end', () => {
      // A reset ends what is readable too; only END_STREAM does so without `aborted`.
      if (stream.aborted) return;
      const request = { fields, body, trailers };
      seen.push(request);
      if (!stream.destroyed) answer(stream, request);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    begun,
    broken,
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
