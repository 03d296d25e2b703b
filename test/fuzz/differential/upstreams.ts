// Real servers as upstreams: node's own, Python's, and nginx, HAProxy and Apache with a recorder behind them that sees the
// path as they understood it, because each of them rewrites the path that it forwards.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { startDaemon } from '../../support/daemon.ts';
import { startNginx } from '../../support/nginx.ts';
import { ensureCommand } from '../../support/system-packages.ts';
import { startHttp2Recorder } from './http2-recorder.ts';
import type { ReadRequest } from './reading.ts';
import { echoOf, fieldOf, identityOf, type Seen, startRecorder, type Upstream } from './recorder.ts';

/** Starts each kind of upstream. */
export const upstreams: Readonly<Record<string, () => Promise<Upstream>>> = {
  raw: () => startRecorder('raw'),
  node: startNode,
  nginx: () => behind('nginx', nginx),
  haproxy: () => behind('haproxy', haproxy),
  apache: () => behind('apache', apache),
  python: startPython,
  http2: startHttp2Recorder,
};

async function startNode(): Promise<Upstream> {
  const seen: Seen[] = [];
  const broken: string[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      // Given up in the middle: no whole request.
      return;
    }
    const { method = '', url: target = '', rawHeaders } = request;
    const fields = rawHeaders.flatMap((name, at) => (at % 2 === 0 ? [[name, rawHeaders[at + 1] ?? ''] as const] : []));
    const [id, tag, host] = ['x-request-id', 'x-tag', 'host'].map((name) => fieldOf({ fields }, name)) as [
      string,
      string,
      string,
    ];
    const body = Buffer.concat(chunks).toString('latin1');
    seen.push({
      id,
      tag,
      method,
      target,
      path: target.replace(/\?.*$/s, ''),
      host,
      body,
      identity: identityOf(fields),
    });
    response.writeHead(200, { 'x-echo': echoOf(id, tag, method) }).end(echoOf(id, tag, method));
  });
  server.on('clientError', (error: Error & { rawPacket?: Buffer; code?: string }, socket) => {
    if (error.rawPacket !== undefined && error.code !== 'HPE_INVALID_EOF_STATE')
      broken.push(error.rawPacket.toString('latin1'));
    socket.destroy();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const stop = async () => {
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  };
  return { name: 'node', url, seen, broken, answersAll: true, [Symbol.asyncDispose]: stop };
}

/** Starts a proxy in front of a recorder, which keeps the target that the proxy was sent and the path that it made of it. */
async function behind(
  name: string,
  start: (backend: number) => Promise<{ readonly url: string } & AsyncDisposable>,
): Promise<Upstream> {
  const recorder = await startRecorder(name, (request: ReadRequest) => {
    const target = fieldOf(request, 'x-raw-target').replace(/^\S+ (.*) HTTP\/1\.1$/, '$1');
    return { target, host: fieldOf(request, 'x-raw-host') };
  });
  const proxy = await start(recorder.port);
  return {
    ...recorder,
    url: proxy.url,
    answersAll: false,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await recorder[Symbol.asyncDispose]();
    },
  };
}

// With a path in proxy_pass nginx sends the normalised path instead of the one it was sent.
const nginx = (backend: number) =>
  startNginx(
    (listen) => `server {
      ${listen}; underscores_in_headers on; ignore_invalid_headers off; client_max_body_size 1m; large_client_header_buffers 8 64k;
      location / {
        proxy_pass http://127.0.0.1:${backend}/; proxy_http_version 1.1; proxy_next_upstream off;
        proxy_set_header Connection ""; proxy_set_header X-Raw-Target $request_uri; proxy_set_header X-Raw-Host $http_host;
      }
    }`,
  );

const haproxy = (backend: number) =>
  startDaemon({
    command: 'haproxy',
    versionFlag: '-v',
    configure: ({ port, file }) => ({
      text: `global
  expose-experimental-directives
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  retries 0
frontend in
  bind 127.0.0.1:${port}
  http-request set-header X-Raw-Target %[url]
  http-request set-header X-Raw-Host %[req.hdr(host)]
  http-request normalize-uri percent-decode-unreserved
  http-request normalize-uri percent-to-uppercase
  http-request normalize-uri path-strip-dot
  http-request normalize-uri path-strip-dotdot
  http-request normalize-uri path-merge-slashes
  default_backend recorder
backend recorder
  server recorder 127.0.0.1:${backend}
`,
      args: ['-db', '-f', file],
    }),
  });

const APACHE_MODULES = ['mpm_event', 'authz_core', 'headers', 'proxy', 'proxy_http'];

const apache = (backend: number) =>
  startDaemon({
    command: 'apache2',
    versionFlag: '-v',
    systemPackage: 'apache2-bin',
    configure: ({ port, file, dir }) => ({
      text: `${APACHE_MODULES.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`).join('\n')}
ServerRoot ${dir}
PidFile ${dir}/pid
ErrorLog ${dir}/error.log
ServerName app
Listen 127.0.0.1:${port}
DefaultRuntimeDir ${dir}
StartServers 1
KeepAlive On
MaxKeepAliveRequests 0
LimitRequestLine 65536
LimitRequestFieldSize 65536
AllowEncodedSlashes On
UseCanonicalName Off
RequestHeader set X-Raw-Target "expr=%{THE_REQUEST}"
RequestHeader set X-Raw-Host "expr=%{req:Host}"
ProxyPass / http://127.0.0.1:${backend}/ retry=0 disablereuse=On
`,
      args: ['-X', '-f', file],
    }),
  });

// HTTP/1.0: it closes after each answer, and knows no chunked bodies. Its paths are those of a file server.
const PYTHON = `
import http.server, json, threading
lock = threading.Lock()
class Handler(http.server.SimpleHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0)).decode('latin1')
        path = self.translate_path(self.path)[len(self.directory):].encode('utf8', 'surrogateescape').decode('latin1') or '/'
        line = {'method': self.command, 'target': self.requestline.split(' ')[1], 'path': path, 'body': body,
                'chunked': 'Transfer-Encoding' in self.headers, 'fields': self.headers.items()}
        with lock:
            print(json.dumps(line), flush=True)
        echo = ' '.join([self.headers.get('X-Request-Id', 'none'), self.headers.get('X-Tag', 'none'), self.command])
        self.send_response(200)
        self.send_header('X-Echo', echo)
        self.send_header('Content-Length', str(len(echo)))
        self.end_headers()
        if self.command != 'HEAD': self.wfile.write(echo.encode('latin1'))
    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_QUERY = answer
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer.handle_error = lambda *args: None
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), lambda *a: Handler(*a, directory='/srv'))
print(json.dumps({'port': server.server_address[1]}), flush=True)
server.serve_forever()
`;

async function startPython(): Promise<Upstream> {
  ensureCommand('python3', '--version');
  const child = spawn('python3', ['-c', PYTHON], { stdio: ['ignore', 'pipe', 'inherit'] });
  const seen: Seen[] = [];
  const started = Promise.withResolvers<number>();
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
    const lines = text.split('\n');
    text = lines.pop() as string;
    for (const line of lines) {
      const { port, method, target, path, body, chunked, fields } = JSON.parse(line);
      if (port !== undefined) started.resolve(port);
      else {
        const [id, tag, host] = ['x-request-id', 'x-tag', 'host'].map((name) => fieldOf({ fields }, name)) as [
          string,
          string,
          string,
        ];
        seen.push({
          id,
          tag,
          method,
          target,
          path,
          host,
          body: chunked ? undefined : body,
          identity: identityOf(fields),
        });
      }
    }
  });
  child.once('exit', () => started.reject(new Error('python3 ended')));
  const port = await started.promise;
  const stop = async () => {
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
  };
  return {
    name: 'python',
    url: `http://127.0.0.1:${port}`,
    seen,
    broken: [],
    answersAll: false,
    answersEarly: true,
    [Symbol.asyncDispose]: stop,
  };
}
