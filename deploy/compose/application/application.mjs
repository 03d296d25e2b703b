// The sample application: says who is calling, as Doorward tells it. It verifies nothing, because nobody else can reach it.
import { createServer } from 'node:http';

const server = createServer((request, response) => {
  const caller = Object.entries(request.headers).filter(([name]) => name.startsWith('x-auth-'));
  response.setHeader('content-type', 'application/json');
  response.end(`${JSON.stringify({ path: request.url, caller: Object.fromEntries(caller) })}\n`);
});
server.listen(Number(process.env.PORT ?? 3000), process.env.HOST ?? '0.0.0.0');
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => server.close());
