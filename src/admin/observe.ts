// /healthz, /readyz and /metrics: what kubelet and Prometheus ask, without a token, on the observe port and on the admin
// port. Nothing else is served here, and nothing here depends on a store answering.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { requestId } from '../core/ids.ts';
import type { ListenerHandlers } from '../http/listener.ts';
import type { AdminDependencies } from './dependencies.ts';
import { readinessOf } from './readiness.ts';
import { jsonText, sendJson, sendProblem, sendText } from './send.ts';

const PATHS: ReadonlySet<string> = new Set(['/healthz', '/readyz', '/metrics']);

/** Handlers of the observe port: GET and HEAD of the three paths, 404 and 405 for the rest. */
export function observeHandlers(dependencies: AdminDependencies): ListenerHandlers {
  return {
    onRequest(request, response: ServerResponse) {
      const id = requestId();
      if (serveObservation(dependencies, request, response, id)) return;
      sendProblem(request, response, 'route_not_found', id);
    },
  };
}

/** Answers when the path is one of the three; false when it is not. */
export function serveObservation(
  dependencies: AdminDependencies,
  request: IncomingMessage,
  response: ServerResponse,
  id: string,
): boolean {
  const path = (request.url as string).split('?', 1)[0] as string;
  if (!PATHS.has(path)) return false;
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    sendProblem(request, response, 'method_not_allowed', id, { allow: 'GET, HEAD' });
  } else if (path === '/metrics') void sendMetrics(dependencies, request, response, id);
  else if (path === '/healthz') sendJson(request, response, 200, jsonText(health(dependencies)), id);
  else {
    const { ready, body } = readinessOf(dependencies.readiness());
    sendJson(request, response, ready ? 200 : 503, jsonText(body), id);
  }
  return true;
}

function health({ clock, version }: AdminDependencies): Record<string, unknown> {
  return { status: 'alive', version, timestamp: new Date(clock.nowMs()).toISOString() };
}

async function sendMetrics(
  { metrics, log, beforeScrape, metricsText }: AdminDependencies,
  request: IncomingMessage,
  response: ServerResponse,
  id: string,
): Promise<void> {
  try {
    beforeScrape();
    const text = await (metricsText ?? (() => metrics.registry.metrics()))();
    sendText(request, response, metrics.registry.contentType, text, id);
  } catch (error) {
    log.error({ err: error, request_id: id }, 'scrape_failed');
    sendProblem(request, response, 'internal', id);
  }
}
