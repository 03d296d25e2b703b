// Traces: what could not be delivered, and what would be shown to the network.
import { type Check, withSecret } from './context.ts';
import { isLoopbackHost } from './hosts.ts';
import { certificateProblem } from './upstreams.ts';

/** Named by the exporter itself. */
const OURS = new Set(['content-type', 'content-length', 'transfer-encoding', 'host', 'connection']);
const FIELD_VALUE = /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/;

/** Checks `tracing`. */
export const checkTracing: Check = (context) => {
  const { tracing } = context.config;
  if (!tracing) return;
  const { endpoint, headers, tls, believe } = tracing;
  const isPlain = endpoint.toLowerCase().startsWith('http:');
  for (const [name, reference] of Object.entries(headers)) {
    const path = ['tracing', 'headers', name];
    if (OURS.has(name.toLowerCase())) context.problem(path, 'is set by the sidecar itself');
    withSecret(context, path, reference, (value) =>
      FIELD_VALUE.test(value) ? undefined : 'holds no header value: printable ASCII without a line break',
    );
  }
  if (tls && isPlain) context.problem(['tracing', 'tls'], 'needs an https:// endpoint');
  withSecret(context, ['tracing', 'tls', 'ca'], tls?.ca, certificateProblem);
  if (isPlain && Object.keys(headers).length > 0 && !isLoopbackHost(new URL(endpoint).hostname))
    context.warn(['tracing', 'headers'], 'go over the network in the clear: endpoint is http://');
  if (believe === 'everyone')
    context.warn(['tracing', 'believe'], 'everyone: any client can have all its requests traced');
};
