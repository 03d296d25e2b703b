// The application of the demo: answers every request with what it got, as a page for browsers and as JSON for the rest.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A running sample application. */
export interface SampleApplication extends AsyncDisposable {
  readonly url: string;
}

/** Starts it on a free loopback port. */
export async function startSampleApplication(): Promise<SampleApplication> {
  const server = createServer(answer);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  request.resume();
  const seen = { method: request.method, path: request.url, headers: request.headers };
  const html = request.headers.accept?.includes('text/html') ?? false;
  response.setHeader('Content-Type', html ? 'text/html; charset=utf-8' : 'application/json');
  response.setHeader('Cache-Control', 'no-store');
  response.end(html ? page(seen) : `${JSON.stringify(seen, undefined, 2)}\n`);
}

function page({
  method,
  path,
  headers,
}: {
  method: string | undefined;
  path: string | undefined;
  headers: object;
}): string {
  const rows = Object.entries(headers).map(
    ([name, value]) => `<tr><th>${escapeHtml(name)}<td>${escapeHtml(String(value))}`,
  );
  const style = 'body{font:16px system-ui;margin:3rem auto;max-width:60rem}th{text-align:left;padding-right:2rem}';
  return `<!doctype html><meta charset="utf-8"><title>Sample application</title><style>${style}</style>
<h1>${escapeHtml(`${method} ${path}`)}</h1><p>The request as the application got it.<table>${rows.join('')}</table>\n`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};
const escapeHtml = (text: string) => text.replace(/[&<>"']/g, (character) => ENTITIES[character] as string);
