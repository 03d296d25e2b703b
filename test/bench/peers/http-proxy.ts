// `http-proxy` alone, as its README shows it, with a keep-alive agent. A program of its own:
// `node http-proxy.ts <port> <upstream port>`.
import { Agent, createServer, ServerResponse } from 'node:http';
import { createProxyServer } from 'http-proxy';

const [port, upstreamPort] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true, maxSockets: 128 });
const proxy = createProxyServer({ target: `http://127.0.0.1:${upstreamPort}`, agent });
proxy.on('error', (_error, _request, response) => {
  if (response instanceof ServerResponse && !response.headersSent) response.writeHead(502).end();
  else response.destroy();
});

const server = createServer({ keepAliveTimeout: 75_000 }, (request, response) => proxy.web(request, response));
server.listen(Number(port), '127.0.0.1');
process.once('SIGTERM', () => process.exit(0));
